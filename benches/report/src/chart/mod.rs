//! Charts as SVG. Drawn with rectangles, lines and text alone, because groups of bars with quartiles on a
//! logarithmic axis are none of plotters' series.

mod axis;
mod bars;
mod lines;

use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::numbers::number;
use crate::recording::Recording;
use crate::topics::{Shape, Topic};

const WIDTH: i32 = 960;
const MARGIN: i32 = 20;
const LINE: i32 = 20;
/// Of a letter, as browsers draw it; roughly.
const LETTER: i32 = 7;
const GREY: RGBColor = RGBColor(215, 215, 215);
const DARK: RGBColor = RGBColor(40, 40, 40);

/// This crate stands out; the others in the order in which they come.
const OWN: RGBColor = RGBColor(214, 39, 40);
const COLOURS: [RGBColor; 10] = [
    RGBColor(68, 119, 170),
    RGBColor(102, 194, 165),
    RGBColor(204, 153, 51),
    RGBColor(141, 160, 203),
    RGBColor(120, 94, 60),
    RGBColor(170, 80, 160),
    RGBColor(120, 170, 60),
    RGBColor(90, 90, 90),
    RGBColor(240, 150, 110),
    RGBColor(60, 170, 190),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// What is drawn on.
struct Canvas<'a> {
    area: Area<'a>,
}

pub(crate) fn draw(recording: &Recording, topic: &Topic) -> io::Result<String> {
    let mut text = String::new();
    let drawn = match topic.shape {
        Shape::Lines => lines::draw(&mut text, recording, topic),
        Shape::Bars | Shape::BarsApart => bars::draw(&mut text, recording, topic),
    };
    drawn.map_err(|error| io::Error::other(format!("no chart of {}: {error}", recording.topic)))?;
    Ok(text + "\n")
}

impl<'a> Canvas<'a> {
    fn new(text: &'a mut String, height: i32) -> Result<Self, DrawingAreaErrorKind<io::Error>> {
        let area = SVGBackend::with_string(text, (WIDTH as u32, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        Ok(Canvas { area })
    }

    fn text(&self, words: &str, at: (i32, i32), side: HPos, size: i32) -> Drawn {
        // Plotters measures fonts by another height than SVG does.
        let size = f64::from(size) * 1.24;
        let style = ("sans-serif", size).into_text_style(&self.area).color(&DARK);
        let style = style.pos(Pos::new(side, VPos::Center));
        self.area.draw(&Text::new(words.to_owned(), at, style))
    }

    fn line(&self, points: Vec<(i32, i32)>, colour: RGBColor, width: u32) -> Drawn {
        self.area.draw(&PathElement::new(points, colour.stroke_width(width)))
    }

    fn block(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Drawn {
        self.area.draw(&Rectangle::new([from, to], colour.filled()))
    }

    /// Title and legend, from the top.
    fn head(&self, title: &str, series: &[String]) -> Drawn {
        self.text(title, (WIDTH / 2, MARGIN), HPos::Center, 17)?;
        for (number, (name, (x, y))) in series.iter().zip(legend_places(series)).enumerate() {
            self.block((x, y - 5), (x + 11, y + 6), colour(name, number))?;
            self.text(name, (x + 16, y), HPos::Left, 13)?;
        }
        Ok(())
    }

    fn present(&self) -> Drawn {
        self.area.present()
    }
}

/// Where the chart itself may begin.
fn head_height(series: &[String]) -> i32 {
    legend_places(series).last().map_or(2 * MARGIN, |last| last.1 + LINE)
}

fn legend_places(series: &[String]) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (MARGIN, MARGIN + 25);
    let mut places = Vec::new();
    for name in series {
        let width = 16 + LETTER * name.chars().count() as i32 + 18;
        if x + width > WIDTH - MARGIN && x > MARGIN {
            (x, y) = (MARGIN, y + LINE);
        }
        places.push((x, y));
        x += width;
    }
    places
}

/// Of a tick, which is round.
fn tick_name(value: f64) -> String {
    let text = number(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn colour(name: &str, number: usize) -> RGBColor {
    if ["write-behind", "buffered", "insert_many"].contains(&name) {
        OWN
    } else {
        COLOURS[number % COLOURS.len()]
    }
}
