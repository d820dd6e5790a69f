//! Groups of bars, lying, so that long names have room; with a thin line from quartile to quartile.

use plotters::style::text_anchor::HPos;

use super::axis::Axis;
use super::{Canvas, DARK, Drawn, GREY, LETTER, LINE, MARGIN, WIDTH, colour, head_height, tick_name};
use crate::layout::Layout;
use crate::numbers::part;
use crate::recording::Recording;
use crate::statistics::quartiles;
use crate::topics::{Shape, Topic};

const BAR: i32 = 8;
const GAP: i32 = 9;
const AXIS: i32 = 26;

struct Bar {
    series: usize,
    quartiles: [f64; 3],
}

struct Group {
    name: String,
    bars: Vec<Bar>,
}

/// What has an axis.
struct Panel {
    name: String,
    groups: Vec<Group>,
}

impl Panel {
    fn height(&self) -> i32 {
        let groups: i32 = self.groups.iter().map(|group| group.bars.len() as i32 * BAR + GAP).sum();
        groups + AXIS + if self.name.is_empty() { 0 } else { LINE }
    }

    fn values(&self) -> impl Iterator<Item = f64> + Clone {
        self.groups.iter().flat_map(|group| &group.bars).flat_map(|bar| bar.quartiles)
    }
}

pub(super) fn draw(text: &mut String, recording: &Recording, topic: &Topic) -> Drawn {
    let layout = Layout::of(recording);
    let series: Vec<String> = layout.series.iter().map(|name| part(name)).collect();
    let apart = matches!(topic.shape, Shape::BarsApart);
    let panels = panels(recording, &layout, apart);
    let top = head_height(&series);
    let height = top + panels.iter().map(|panel| panel.height() + MARGIN).sum::<i32>();
    let canvas = Canvas::new(text, height)?;
    let common = Axis::around(panels.iter().flat_map(Panel::values));
    let unit = if apart { "medians and quartiles" } else { &recording.unit };
    let note = if common.is_logarithmic() && !apart { ", logarithmic" } else { "" };
    canvas.head(&format!("{}: {unit}{note}", topic.title), &series)?;
    let left = left_edge(&panels);
    let mut y = top;
    for panel in &panels {
        let own = Axis::around(panel.values());
        let axis = if apart { &own } else { &common };
        let note = if apart && own.is_logarithmic() { ", logarithmic" } else { "" };
        if !panel.name.is_empty() {
            canvas.text(&format!("{}{note}", panel.name), (left, y), HPos::Left, 14)?;
        }
        draw_panel(&canvas, panel, axis, &series, (left, y))?;
        y += panel.height() + MARGIN;
    }
    canvas.present()
}

/// Those that are apart have a panel for each row.
fn panels(recording: &Recording, layout: &Layout, apart: bool) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for row in &layout.rows {
        let bars = (0..layout.series.len()).filter_map(|series| {
            let samples = layout.samples(recording, row, series)?;
            Some(Bar { series, quartiles: quartiles(samples) })
        });
        let (panel, name) =
            if apart { (row.full_name(), "") } else { (row.panel.clone(), row.name.as_str()) };
        let group = Group { name: name.to_owned(), bars: bars.collect() };
        match panels.last_mut().filter(|last| last.name == panel) {
            Some(last) => last.groups.push(group),
            None => panels.push(Panel { name: panel, groups: vec![group] }),
        }
    }
    panels
}

fn left_edge(panels: &[Panel]) -> i32 {
    let names = panels.iter().flat_map(|panel| &panel.groups).map(|group| group.name.chars().count());
    MARGIN + 10 + LETTER * names.max().unwrap_or(0) as i32
}

fn draw_panel(canvas: &Canvas<'_>, panel: &Panel, axis: &Axis, series: &[String], at: (i32, i32)) -> Drawn {
    let (left, mut y) = at;
    let place = |value: f64| left + (axis.place(value) * f64::from(WIDTH - MARGIN - left)).round() as i32;
    let bottom = y + panel.height() - AXIS;
    if !panel.name.is_empty() {
        y += LINE;
    }
    for tick in axis.ticks() {
        canvas.line(vec![(place(tick), y - 5), (place(tick), bottom)], GREY, 1)?;
        canvas.text(&tick_name(tick), (place(tick), bottom + 10), HPos::Center, 12)?;
    }
    for group in &panel.groups {
        let height = group.bars.len() as i32 * BAR;
        canvas.text(&group.name, (left - 8, y + height / 2), HPos::Right, 12)?;
        for bar in &group.bars {
            let [low, median, high] = bar.quartiles.map(place);
            canvas.block((left, y), (median, y + BAR - 1), colour(&series[bar.series], bar.series))?;
            canvas.line(vec![(low, y + BAR / 2 - 1), (high, y + BAR / 2 - 1)], DARK, 1)?;
            y += BAR;
        }
        y += GAP;
    }
    canvas.line(vec![(left, at.1 + 8), (left, bottom)], DARK, 1)
}
