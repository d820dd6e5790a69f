//! Lines over sizes, where the last part of each case is one: a panel for each thing measured.

use plotters::prelude::{Circle, Color};
use plotters::style::text_anchor::HPos;

use super::axis::Axis;
use super::{Canvas, DARK, Drawn, GREY, LINE, WIDTH, colour, head_height, tick_name};
use crate::numbers::case_name;
use crate::recording::Recording;
use crate::targets::size;
use crate::topics::Topic;

const HEIGHT: i32 = 220;
const LEFT: i32 = 90;
/// Half of a long number more lies beyond.
const RIGHT: i32 = WIDTH - 50;

pub(super) fn draw(text: &mut String, recording: &Recording, topic: &Topic) -> Drawn {
    let series: Vec<String> = recording.peers().into_iter().map(str::to_owned).collect();
    let mut panels: Vec<&[String]> = Vec::new();
    for (_, measure) in recording.cases().into_iter().filter_map(size) {
        if !panels.contains(&measure) {
            panels.push(measure);
        }
    }
    let top = head_height(&series);
    let canvas = Canvas::new(text, top + (HEIGHT + 3 * LINE) * panels.len() as i32)?;
    canvas.head(&format!("{}: {} by number of keys", topic.title, recording.unit), &series)?;
    for (place, measure) in panels.iter().enumerate() {
        draw_panel(&canvas, recording, measure, top + (HEIGHT + 3 * LINE) * place as i32)?;
    }
    canvas.present()
}

/// What a peer needs at each size.
fn points(recording: &Recording, measure: &[String], peer: &str) -> Vec<(f64, f64)> {
    let sizes = recording.cases().into_iter().filter_map(|case| Some((case, size(case)?)));
    let sizes = sizes.filter(|(_, (_, of))| *of == measure);
    let points = sizes.filter_map(|(case, (size, _))| Some((size, recording.median(case, peer)?)));
    let mut points: Vec<_> = points.collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}

fn draw_panel(canvas: &Canvas<'_>, recording: &Recording, measure: &[String], top: i32) -> Drawn {
    let peers: Vec<_> = recording.peers().into_iter().map(|peer| points(recording, measure, peer)).collect();
    let all = peers.iter().flatten();
    let across = Axis::around(all.clone().map(|point| point.0));
    let up = Axis::around(all.map(|point| point.1));
    let (top, bottom) = (top + LINE, top + LINE + HEIGHT);
    let x = |size: f64| LEFT + (across.place(size) * f64::from(RIGHT - LEFT)).round() as i32;
    let y = |value: f64| bottom - (up.place(value) * f64::from(HEIGHT)).round() as i32;
    let note = if up.is_logarithmic() { ", logarithmic" } else { "" };
    canvas.text(&format!("{}{note}", case_name(measure)), (LEFT, top - LINE / 2), HPos::Left, 14)?;
    for tick in up.ticks() {
        canvas.line(vec![(LEFT, y(tick)), (RIGHT, y(tick))], GREY, 1)?;
        canvas.text(&tick_name(tick), (LEFT - 8, y(tick)), HPos::Right, 12)?;
    }
    for tick in across.ticks() {
        canvas.line(vec![(x(tick), top), (x(tick), bottom)], GREY, 1)?;
        canvas.text(&tick_name(tick), (x(tick), bottom + 12), HPos::Center, 12)?;
    }
    canvas.line(vec![(LEFT, top), (LEFT, bottom), (RIGHT, bottom)], DARK, 1)?;
    for (series, (peer, name)) in peers.iter().zip(recording.peers()).enumerate() {
        let colour = colour(name, series);
        let places: Vec<(i32, i32)> = peer.iter().map(|point| (x(point.0), y(point.1))).collect();
        for place in &places {
            canvas.area.draw(&Circle::new(*place, 4, colour.filled()))?;
        }
        canvas.line(places, colour, 2)?;
    }
    Ok(())
}
