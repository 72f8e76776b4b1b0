//! Draws the charts of `docs/costs.md`, light and dark, from the figures of the benches.
//!
//! `charts FIGURES FOLDER`

use std::{env, fmt::Write as _, fs, path::Path};

use async_drain_bench::figures::shown;
use serde_json::Value;

const OURS: &str = "async-drain";
/// What is measured against, not compared with.
const UNITS: [&str; 4] = [
    "two atomics",
    "a bare unpark",
    "a load",
    "without the drain",
];
const LEAST: &str = "async-drain, at least (95 %)";
const MOST: &str = "async-drain, at most (95 %)";

fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(figures), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: charts FIGURES FOLDER");
        std::process::exit(2);
    };
    let text = fs::read_to_string(&figures).expect("the figures");
    let figures = Figures(
        text.lines()
            .map(|line| serde_json::from_str(line).expect("one object a line"))
            .collect(),
    );
    for chart in &CHARTS {
        for theme in [&LIGHT, &DARK] {
            let path = Path::new(&folder).join(format!("{}-{}.svg", chart.name, theme.name));
            fs::write(path, draw(chart, &figures, theme)).expect("a place for the chart");
        }
    }
}

struct Chart {
    name: &'static str,
    title: &'static str,
    panels: &'static [Panel],
}

/// One case of one bench; a case that ends in `×` means the one with the most threads.
struct Panel {
    bench: &'static str,
    case: &'static str,
    title: &'static str,
    /// The unit of the axis, and which direction is better.
    axis: &'static str,
    /// Set if the figures of this number of children, guards or waiters are drawn.
    of: Option<&'static str>,
    /// Set if the axis is logarithmic.
    logarithmic: bool,
}

impl Panel {
    const fn new(
        bench: &'static str,
        case: &'static str,
        title: &'static str,
        axis: &'static str,
    ) -> Self {
        Self {
            bench,
            case,
            title,
            axis,
            of: None,
            logarithmic: false,
        }
    }

    const fn of(mut self, number: &'static str) -> Self {
        self.of = Some(number);
        self
    }

    const fn logarithmic(mut self) -> Self {
        self.logarithmic = true;
        self
    }
}

const ATOMICS: &str = "time; 1 = two atomic instructions on a private line; less is better";
const UNPARKS: &str = "time, logarithmic; 1 = the median of bare unparks; less is better";
const CHILDREN: &str = "time; 1 = creating one of ours; less is better";
const BARE: &str = "1 = the same server without the drain; less is better";
const BARE_MORE: &str = "1 = the same server without the drain; more is better";
const GRACEFUL: &str = "1 = hyper-util's graceful; less is better";

const CHARTS: [Chart; 6] = [
    Chart {
        name: "guard",
        title: "A guard, created and dropped",
        panels: &[
            Panel::new("guard", "make", "on one thread", ATOMICS),
            Panel::new("guard", "make ×", "on all cores, sharing a drain", ATOMICS),
            Panel::new(
                "guard",
                "tracked",
                "with its place and age, on one thread",
                ATOMICS,
            ),
            Panel::new(
                "guard",
                "labeled ×",
                "with label, place and age, on all cores, sharing a drain",
                ATOMICS,
            ),
        ],
    },
    Chart {
        name: "waiting",
        title: "Waiting for draining to begin",
        panels: &[
            Panel::new(
                "latch",
                "first poll, drop",
                "first poll and drop, on one thread",
                ATOMICS,
            ),
            Panel::new(
                "latch",
                "first poll, drop ×",
                "first poll and drop, on all cores",
                ATOMICS,
            ),
            Panel::new(
                "latch",
                "same waker again",
                "polled again by the same task",
                ATOMICS,
            ),
        ],
    },
    Chart {
        name: "child",
        title: "A child drain, one of a thousand",
        panels: &[
            Panel::new(
                "scale: children",
                "bytes",
                "memory",
                "bytes; less is better",
            )
            .of("1000"),
            Panel::new("scale: children", "make", "created", CHILDREN).of("1000"),
            Panel::new(
                "scale: children",
                "begin",
                "told that draining begins",
                CHILDREN,
            )
            .of("1000"),
        ],
    },
    Chart {
        name: "event",
        title: "From the last guard's drop to the return of the thread that waits",
        panels: &[
            Panel::new("event", "half", "median", UNPARKS).logarithmic(),
            Panel::new("event", "99 %", "99th percentile", UNPARKS).logarithmic(),
        ],
    },
    Chart {
        name: "http",
        title: "An HTTP server under load",
        panels: &[
            Panel::new(
                "http",
                "requests/s",
                "HTTP/1: requests per second",
                BARE_MORE,
            ),
            Panel::new(
                "http",
                "HTTP/2 req/s",
                "HTTP/2: requests per second",
                BARE_MORE,
            ),
            Panel::new("http", "CPU time", "HTTP/1: CPU time of a request", BARE),
            Panel::new("http", "p99", "HTTP/1: latency, 99th percentile", BARE),
        ],
    },
    Chart {
        name: "idle",
        title: "Ten thousand idle keep-alive connections",
        panels: &[
            Panel::new("idle", "memory", "memory of a connection", BARE),
            Panel::new(
                "idle",
                "CPU time",
                "CPU time from SIGTERM to the exit",
                GRACEFUL,
            ),
            Panel::new(
                "idle",
                "to the exit",
                "from SIGTERM to the exit; by default they may send one more request, for a second",
                GRACEFUL,
            ),
        ],
    },
];

struct Theme {
    name: &'static str,
    text: &'static str,
    faint: &'static str,
    line: &'static str,
    bar: &'static str,
    ours: &'static str,
}

const LIGHT: Theme = Theme {
    name: "light",
    text: "#1f2328",
    faint: "#59636e",
    line: "#d1d9e0",
    bar: "#c2cad3",
    ours: "#0969da",
};
const DARK: Theme = Theme {
    name: "dark",
    text: "#f0f6fc",
    faint: "#9198a1",
    line: "#3d444d",
    bar: "#4b535d",
    ours: "#4493f8",
};

struct Figures(Vec<Value>);

struct Bar<'a> {
    who: &'a str,
    value: f64,
    /// Between which two the median is, with 95 % confidence.
    interval: Option<(f64, f64)>,
}

impl Figures {
    fn of_bench(&self, bench: &str) -> impl Iterator<Item = (&str, &str, f64)> {
        (self.0.iter().filter(move |line| line["bench"] == bench)).filter_map(|line| {
            let (case, who) = (line["case"].as_str()?, line["who"].as_str()?);
            Some((case, who, line["value"].as_f64()?))
        })
    }

    /// Returns the case of a panel, with the number of threads.
    fn case(&self, panel: &Panel) -> String {
        let Some(start) = panel.case.strip_suffix('×') else {
            return panel.case.to_owned();
        };
        let threads = self
            .of_bench(panel.bench)
            .filter_map(|(case, _, _)| case.strip_prefix(start)?.strip_prefix('×')?.parse().ok());
        let most: usize = threads.max().unwrap_or(1);
        format!("{start}×{most}")
    }

    /// Returns the figures of a panel, the smallest first.
    fn bars(&self, panel: &Panel) -> Vec<Bar<'_>> {
        let case = self.case(panel);
        let of_case: Vec<_> = (self.of_bench(panel.bench))
            .filter(|(c, _, _)| *c == case)
            .collect();
        let value_of = |name: &str| {
            let found = of_case.iter().find(|(_, who, _)| *who == name);
            found.map(|(_, _, value)| *value)
        };
        let mut bars: Vec<_> = (of_case.iter())
            .filter_map(|&(_, who, value)| {
                let who = match panel.of {
                    Some(number) => who.strip_suffix(number)?.strip_suffix(", ")?,
                    None => who,
                };
                let interval = value_of(LEAST).zip(value_of(MOST));
                Some(Bar {
                    who,
                    value,
                    interval: interval.filter(|_| who == OURS),
                })
            })
            .filter(|bar| {
                !UNITS.contains(&bar.who)
                    && !bar.who.ends_with("its own")
                    && !bar.who.ends_with("(95 %)")
            })
            .collect();
        bars.sort_by(|a, b| a.value.total_cmp(&b.value));
        bars
    }

    /// Returns where and when the figures of `bench` were measured.
    fn origin(&self, bench: &str) -> String {
        let bench = bench.split(':').next();
        let mut lines = self.0.iter();
        let found = lines.find(|line| line["bench"].as_str() == bench && line["date"].is_string());
        let field = |name| found.and_then(|line| line[name].as_str());
        format!(
            "measured on {}, {}",
            field("date").unwrap_or("an unrecorded day"),
            field("machine").unwrap_or("an unrecorded machine")
        )
    }
}

const WIDTH: f64 = 720.0;
const NAMES: f64 = 150.0;
const BARS: f64 = WIDTH - NAMES - 110.0;
const ROW: f64 = 22.0;

/// The axis of a panel: from zero (or one, if logarithmic) to the longest bar.
struct Axis {
    most: f64,
    logarithmic: bool,
}

impl Axis {
    fn x(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            value.max(1.0).ln() / self.most.ln()
        } else {
            value / self.most
        };
        NAMES + share * BARS
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            return (0..12)
                .map(|n| 10_f64.powi(n))
                .take_while(|tick| *tick <= self.most)
                .collect();
        }
        let rough = self.most / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
        let step = step
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        (0..10)
            .map(|n| f64::from(n) * step)
            .take_while(|tick| *tick <= self.most * 1.001)
            .collect()
    }
}

fn draw(chart: &Chart, figures: &Figures, theme: &Theme) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    let heading = "font-size=\"16\" font-weight=\"600\"";
    text(&mut body, (0.0, y), theme.text, heading, chart.title);
    let origin = chart
        .panels
        .first()
        .map(|panel| figures.origin(panel.bench));
    y += 20.0;
    text(
        &mut body,
        (0.0, y),
        theme.faint,
        "",
        &origin.unwrap_or_default(),
    );
    for panel in chart.panels {
        let bars = figures.bars(panel);
        if !bars.is_empty() {
            y = draw_panel(&mut body, y, panel, &bars, theme);
        }
    }
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-8 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', sans-serif\" font-size=\"12\" \
         role=\"img\" aria-label=\"{label}\">\n{body}</svg>\n",
        width = WIDTH + 16.0,
        label = escaped(chart.title)
    )
}

/// Draws one panel below `y`; returns where it ends.
fn draw_panel(body: &mut String, y: f64, panel: &Panel, bars: &[Bar<'_>], theme: &Theme) -> f64 {
    let bold = "font-weight=\"600\"";
    let longest = |bar: &Bar<'_>| {
        bar.interval
            .map_or(bar.value, |(_, most)| most.max(bar.value))
    };
    let axis = Axis {
        most: bars.iter().map(longest).fold(1.0, f64::max),
        logarithmic: panel.logarithmic,
    };
    let mut y = y + 32.0;
    text(body, (0.0, y), theme.text, bold, panel.title);
    y += 8.0;
    let bottom = y + ROW * bars.len() as f64;
    for tick in axis.ticks() {
        let x = axis.x(tick);
        let _ = writeln!(
            body,
            r#"<line x1="{x:.1}" y1="{y:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="{}"/>"#,
            theme.line
        );
        let label = format!("{}", (tick * 1000.0).round() / 1000.0);
        text(
            body,
            (x, bottom + 14.0),
            theme.faint,
            "text-anchor=\"middle\"",
            &label,
        );
    }
    text(body, (NAMES, bottom + 30.0), theme.faint, "", panel.axis);
    for bar in bars {
        let ours = bar.who.starts_with(OURS);
        let (fill, weight) = if ours {
            (theme.ours, bold)
        } else {
            (theme.bar, "")
        };
        let middle = y + ROW * 0.68;
        let anchor = format!("text-anchor=\"end\" {weight}");
        text(body, (NAMES - 8.0, middle), theme.text, &anchor, bar.who);
        let width = (axis.x(bar.value) - NAMES).max(1.0);
        let _ = writeln!(
            body,
            r#"<rect x="{NAMES}" y="{:.1}" width="{width:.1}" height="{:.1}" rx="2" fill="{fill}"/>"#,
            y + 3.0,
            ROW - 6.0
        );
        let mut end = NAMES + width;
        let mut label = shown(bar.value);
        if let Some((least, most)) = bar.interval {
            let (from, to, middle) = (axis.x(least), axis.x(most), y + ROW / 2.0);
            let _ = writeln!(
                body,
                r#"<path d="M{from:.1} {middle:.1}H{to:.1}M{from:.1} {0:.1}v8M{to:.1} {0:.1}v8" stroke="{1}" stroke-width="1.5"/>"#,
                middle - 4.0,
                theme.text
            );
            end = end.max(to);
            label = format!("{label} ({} to {})", shown(least), shown(most));
        }
        text(body, (end + 6.0, middle), theme.faint, "", &label);
        y += ROW;
    }
    bottom + 34.0
}

fn text(body: &mut String, (x, y): (f64, f64), fill: &str, more: &str, words: &str) {
    let words = escaped(words);
    let _ = writeln!(
        body,
        r#"<text x="{x:.1}" y="{y:.1}" fill="{fill}" {more}>{words}</text>"#
    );
}

fn escaped(words: &str) -> String {
    words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
