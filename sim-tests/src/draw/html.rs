//! One page: swim-lanes with an arrow for each chunk, the faults, how full the windows are, and
//! where the rule was broken. Needs nothing but a browser.

use super::text::say;
use super::{lane, peer, show};
use crate::net::LinkId;
use crate::trace::{Event, Trace, What};
use core::fmt::Write as _;

const LEFT: usize = 110;
const LANE: usize = 210;
const TOP: usize = 60;
const ROW: usize = 22;
/// Width of a full window in the fill curve.
const FILL: usize = 60;

/// The run as a page. `title` is text; `story` says what was broken.
///
/// Time runs downwards, one row a moment at which something happened; the labels on the left
/// say when, so that idle hours take no space.
#[must_use]
pub fn html(trace: &Trace, title: &str, story: &str) -> String {
    let rows = Rows::new(trace);
    let lanes = Lanes::new(trace);
    let width = LEFT + LANE * lanes.used.len() + 40;
    let height = TOP + ROW * (rows.times.len() + 2);
    let mut svg = String::new();
    for (column, node) in lanes.used.iter().enumerate() {
        let x = LEFT + LANE * column + LANE / 2;
        let name = escape(trace.lanes.get(*node).map_or("?", String::as_str));
        put(&mut svg, format_args!("<text class=lane x={x} y=28>{name}</text>"));
        put(&mut svg, format_args!("<line class=lane x1={x} y1=40 x2={x} y2={height} />"));
    }
    for (row, at) in rows.times.iter().enumerate() {
        let y = TOP + ROW * row;
        let skipped = row > 0 && at - rows.times[row - 1] > 1_000_000_000;
        let class = if skipped { "time skip" } else { "time" };
        put(&mut svg, format_args!("<text class='{class}' x=6 y={}>{}</text>", y + 4, when(*at)));
        put(&mut svg, format_args!("<line class=row x1={LEFT} y1={y} x2={width} y2={y} />"));
    }
    let mut crowd = std::collections::BTreeMap::new();
    for event in &trace.events {
        let Some(x) = lanes.x(event.node.0 as usize) else { continue };
        let y = rows.y(event.at.0);
        // Several things at one moment in one lane stand beside each other.
        let shift = crowd.entry((event.node, event.at)).or_insert(0_usize);
        draw(&mut svg, trace, &rows, &lanes, event, (x, y), *shift);
        if !matches!(event.what, What::Sent { .. } | What::Arrived { .. }) {
            *shift += 1;
        }
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}\
         </style><h1>{title}</h1><p class=story>{story}</p><p class=legend>{LEGEND}</p>\
         <svg width={width} height={height} xmlns='http://www.w3.org/2000/svg'>\
         <defs><marker id=head viewBox='0 0 8 8' refX=8 refY=4 markerWidth=7 markerHeight=7 \
         orient=auto><path d='M0 0L8 4L0 8z'/></marker></defs>{svg}</svg>\n\
         <details><summary>As text</summary><pre>{text}</pre></details></html>\n",
        title = escape(title),
        story = escape(story),
        text = escape(&super::text(trace)),
    )
}

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:24px;color:#222;background:#fff}\
h1{font-size:20px}.story{white-space:pre-wrap;background:#fde8e8;padding:8px;border-radius:4px}\
.legend{color:#666}svg text{font:11px ui-monospace,monospace;fill:#333}text.lane{font:600 13px \
system-ui;text-anchor:middle}line.lane{stroke:#999}line.row{stroke:#f2f2f2}text.skip{fill:#c60;\
font-weight:600}line.chunk{stroke:#2463b4;stroke-width:1.5;marker-end:url(#head)}line.late{\
stroke:#c60}line.lost{stroke:#c22;stroke-dasharray:4 3}text.data{fill:#2463b4}text.fault{\
fill:#b30000;font-weight:600}text.note{fill:#777}text.bad{fill:#fff;font-weight:700}rect.bad{\
fill:#b30000}rect.fill{fill:#2463b4;opacity:.35}rect.full{fill:#c60;opacity:.6}\
rect.band{fill:#f7c873;opacity:.35}pre{font-size:12px}";

const LEGEND: &str = "Arrow: a chunk, from when it was sent to when it arrives (orange and a band: \
it was held up; dashed red: it never arrived). ✕ cut or reset, ⚡ fault. Bar at a lane: input that \
waits to be read. Red flag: the rule that was broken. Orange time: more than a second was skipped.";

fn draw(
    svg: &mut String,
    trace: &Trace,
    rows: &Rows,
    lanes: &Lanes,
    event: &Event,
    (x, y): (usize, usize),
    shift: usize,
) {
    let aside = x + 8 + 4 * shift;
    let below = y + 4 + 11 * shift.min(1) * (shift % 2);
    let tip = escape(&format!("{} {}", when(event.at.0), say(trace, event)));
    let link = event.link.unwrap_or(LinkId(0));
    match &event.what {
        What::Sent { bytes, until, offset, full } => {
            let to = peer(trace, link, event.node);
            let Some(end) = lanes.x(to.0 as usize) else { return };
            let arrived = rows.arrival(until.0);
            let bottom = arrived.unwrap_or(y + ROW);
            let late = until.0.saturating_sub(event.at.0) > 100_000_000;
            let class = match (arrived, late) {
                (None, _) => "chunk lost",
                (_, true) => "chunk late",
                _ => "chunk",
            };
            if late {
                let (left, height) = (x.min(end), bottom.saturating_sub(y).max(2));
                let width = x.abs_diff(end);
                put(
                    svg,
                    format_args!(
                        "<rect class=band x={left} y={y} width={width} height={height} />"
                    ),
                );
            }
            let full = if *full { "; the window is full behind it" } else { "" };
            put(
                svg,
                format_args!(
                    "<line class='{class}' x1={x} y1={y} x2={end} y2={bottom}><title>{tip}\n\
                 stream offset {offset}{full}</title></line>"
                ),
            );
            let text = escape(&format!("#{} {} B {}", link.0, bytes.len(), show(bytes, 18)));
            let middle = (x + end) / 2;
            put(
                svg,
                format_args!(
                    "<text class=data text-anchor=middle x={middle} y={}>{text}</text>",
                    usize::midpoint(y, bottom) - 2
                ),
            );
        }
        What::Arrived { waiting, .. } => {
            // The fill curve: a bar whose length is the logarithm of what waits.
            let fill = ((usize::BITS - waiting.leading_zeros()) as usize * FILL / 20).min(FILL);
            let class = if fill >= FILL * 3 / 4 { "full" } else { "fill" };
            let height = ROW - 6;
            put(
                svg,
                format_args!(
                    "<rect class={class} x={x} y={} width={fill} height={height}><title>{tip}</title></rect>",
                    y + 1
                ),
            );
        }
        What::Fault(..) => put(
            svg,
            format_args!(
                "<text class=fault x={aside} y={below}><title>{tip}</title>{}</text>",
                escape(&say(trace, event))
            ),
        ),
        What::Violation(text) => {
            let text = escape(&show(text.as_bytes(), 90));
            let width = 14 + 7 * text.chars().count();
            put(svg, format_args!("<rect class=bad x={x} y={} width={width} height=18 />", y - 12));
            put(
                svg,
                format_args!(
                    "<text class=bad x={} y={}><title>{tip}</title>⚑ {text}</text>",
                    x + 4,
                    y + 1
                ),
            );
        }
        What::Aborted | What::Ended(crate::Ending::Reset | crate::Ending::TimedOut) => {
            put(
                svg,
                format_args!(
                    "<text class=fault x={} y={}><title>{tip}</title>✕</text>",
                    x - 4,
                    y + 4
                ),
            );
        }
        _ => put(
            svg,
            format_args!(
                "<text class=note x={aside} y={below}><title>{tip}</title>{}</text>",
                escape(&show(say(trace, event).as_bytes(), 26))
            ),
        ),
    }
}

/// Moments at which something happened, in order.
struct Rows {
    times: Vec<u64>,
}

impl Rows {
    fn new(trace: &Trace) -> Self {
        let mut times: Vec<u64> = trace.events.iter().map(|e| e.at.0).collect();
        times.sort_unstable();
        times.dedup();
        Self { times }
    }

    fn y(&self, at: u64) -> usize {
        TOP + ROW * self.times.partition_point(|t| *t < at)
    }

    /// Where an arrival at that time is drawn; `None` if the run ended before.
    fn arrival(&self, at: u64) -> Option<usize> {
        self.times.binary_search(&at).is_ok().then(|| self.y(at))
    }
}

/// Nodes to which something happened: the others get no lane.
struct Lanes {
    used: Vec<usize>,
}

impl Lanes {
    fn new(trace: &Trace) -> Self {
        let ends = trace.links.iter().flatten().map(|n| n.0 as usize);
        let mut used: Vec<usize> =
            trace.events.iter().map(|e| e.node.0 as usize).chain(ends).collect();
        used.sort_unstable();
        used.dedup();
        // The server in the middle makes short arrows.
        if used.len() > 2 && lane(trace, crate::NodeId(used[0] as u16)) == "server" {
            let server = used.remove(0);
            used.insert(used.len() / 2, server);
        }
        Self { used }
    }

    fn x(&self, node: usize) -> Option<usize> {
        let column = self.used.iter().position(|n| *n == node)?;
        Some(LEFT + LANE * column + LANE / 2)
    }
}

fn when(ns: u64) -> String {
    format!("{:.3} ms", ns as f64 / 1e6)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

fn put(svg: &mut String, args: core::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(args);
    svg.push('\n');
}
