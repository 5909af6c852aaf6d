//! A line chart as SVG, with nothing but lines and text.

use std::fmt::Write as _;

/// One chart.
pub(crate) struct Picture {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

/// A scale from the first mark to the last.
pub(crate) struct Axis {
    name: &'static str,
    marks: Vec<f64>,
    log: bool,
}

impl Axis {
    pub(crate) fn linear(name: &'static str, marks: &[f64]) -> Self {
        Self { name, marks: marks.to_vec(), log: false }
    }

    pub(crate) fn log(name: &'static str, marks: &[f64]) -> Self {
        Self { name, marks: marks.to_vec(), log: true }
    }

    /// From 0 to 1; what is outside is put on the border.
    fn place(&self, value: f64) -> f64 {
        let (first, last) = (self.marks[0], self.marks[self.marks.len() - 1]);
        let value = value.clamp(first, last);
        let f = |v: f64| if self.log { v.ln() } else { v };
        (f(value) - f(first)) / (f(last) - f(first))
    }
}

/// One line of a chart.
pub(crate) struct Line {
    name: &'static str,
    colour: &'static str,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// Told apart by people who see colours differently, too (Okabe and Ito).
    const COLOURS: [&'static str; 4] = ["#0072b2", "#009e73", "#e69f00", "#d55e00"];

    pub(crate) fn new(name: &'static str, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name, colour: Self::COLOURS[colour], dashed: false, points }
    }

    pub(crate) fn dashed(name: &'static str, points: Vec<(f64, f64)>) -> Self {
        Self { name, colour: "#555", dashed: true, points }
    }
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 55.0;

impl Picture {
    pub(crate) fn svg(&self) -> String {
        let x = |v: f64| LEFT + self.x.place(v) * (WIDTH - LEFT - RIGHT);
        let y = |v: f64| HEIGHT - BOTTOM - self.y.place(v) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"system-ui,sans-serif\" font-size=\"13\" fill=\"#222\" role=\"img\">\
             <title>{0}</title><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"16\" font-weight=\"600\">{0}</text>\n",
            self.title
        );
        for mark in &self.y.marks {
            let at = y(*mark);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#e3e3e3\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{mark}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0
            );
        }
        for mark in &self.x.marks {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{mark}</text>",
                x(*mark),
                HEIGHT - BOTTOM + 20.0
            );
        }
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text><text transform=\"translate(18 \
             {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 14.0,
            self.x.name,
            self.y.name
        );
        let mut legend = LEFT;
        for line in &self.lines {
            let dash = if line.dashed { " stroke-dasharray=\"6 5\"" } else { "" };
            let mut path = String::new();
            for (i, (px, py)) in line.points.iter().enumerate() {
                let step = if i == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{step}{:.1} {:.1}", x(*px), y(*py));
            }
            let _ = writeln!(
                svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{0}\" stroke-width=\"2.2\"{dash}/>\
                 <path d=\"M{legend} 46h22\" stroke=\"{0}\" stroke-width=\"3\"{dash}/>\
                 <text x=\"{1}\" y=\"50\">{2}</text>",
                line.colour,
                legend + 28.0,
                line.name
            );
            legend += 42.0 + 6.6 * line.name.len() as f64;
        }
        svg.push_str("</svg>");
        svg
    }
}
