//! Draws the charts, light and dark, and writes the table for the README, from the figures of the benches.
//!
//! `charts FIGURES FOLDER`

use std::{env, fmt::Write as _, fs, path::Path};

use async_drain_bench::figures::shown;
use serde_json::Value;

const OURS: &str = "async-drain";
/// What is measured against, not beside.
const UNITS: [&str; 4] = ["two atomics", "a bare unpark", "a load", "killed at once"];

fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(figures), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: charts FIGURES FOLDER");
        std::process::exit(2);
    };
    let text = fs::read_to_string(&figures).expect("the figures");
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).expect("one object a line"))
        .collect();
    let folder = Path::new(&folder);
    for chart in &CHARTS {
        let panels: Vec<_> = (chart.panels.iter())
            .map(|panel| (panel, bars(&lines, panel)))
            .filter(|(_, bars)| !bars.is_empty())
            .collect();
        for theme in [&LIGHT, &DARK] {
            let path = folder.join(format!("{}-{}.svg", chart.name, theme.name));
            fs::write(path, draw(chart, &panels, theme)).expect("a place for the chart");
        }
    }
    fs::write(folder.join("table.md"), table(&lines)).expect("a place for the table");
}

struct Chart {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    panels: &'static [Panel],
}

/// One case of one bench; a case that ends in `×` means the one with the most threads.
struct Panel {
    bench: &'static str,
    case: &'static str,
    title: &'static str,
    /// For what differs by orders of magnitude.
    logarithmic: bool,
}

const fn panel(bench: &'static str, case: &'static str, title: &'static str) -> Panel {
    Panel {
        bench,
        case,
        title,
        logarithmic: false,
    }
}

const CHARTS: [Chart; 7] = [
    Chart {
        name: "guard",
        title: "A guard made and dropped",
        unit: "time, 1 = two atomic instructions on a line that no other core writes",
        panels: &[
            panel("guard", "make", "on one thread"),
            panel("guard", "make ×", "on all cores, sharing a drain"),
            panel("guard", "tracked", "with its place and age"),
            panel(
                "guard",
                "labeled ×",
                "with label, place and age, on all cores, sharing a drain",
            ),
        ],
    },
    Chart {
        name: "waiting",
        title: "Waiting for draining to begin",
        unit: "time, 1 = two atomic instructions on a line that no other core writes",
        panels: &[
            panel(
                "latch",
                "first poll, drop",
                "first poll and drop, on one thread",
            ),
            panel(
                "latch",
                "first poll, drop ×",
                "first poll and drop, on all cores",
            ),
            panel("latch", "same waker again", "polled again by the same task"),
        ],
    },
    Chart {
        name: "event",
        title: "From the last drop to the return of who waited",
        unit: "half of the rounds, 1 = waking a thread; logarithmic",
        panels: &[Panel {
            bench: "event",
            case: "half",
            title: "",
            logarithmic: true,
        }],
    },
    Chart {
        name: "refused",
        title: "From SIGTERM to the first refused connect",
        unit: "half of the rounds, 1 = a process that is killed; logarithmic",
        panels: &[Panel {
            bench: "refused",
            case: "half",
            title: "",
            logarithmic: true,
        }],
    },
    Chart {
        name: "http",
        title: "An HTTP server under load",
        unit: "1 = the same hyper server on smol without the drain",
        panels: &[
            panel("http", "requests/s", "requests per second: more is better"),
            panel("http", "CPU time", "CPU time of a request"),
            panel("http", "p99", "latency, 99 %"),
        ],
    },
    Chart {
        name: "idle",
        title: "Ten thousand idle keep-alive connections",
        unit: "1 = the same hyper server on smol without the drain, or with hyper-util's graceful",
        panels: &[
            panel("idle", "memory", "memory of a connection"),
            panel("idle", "CPU time", "CPU time from SIGTERM on"),
            panel(
                "idle",
                "to the exit",
                "from SIGTERM to the exit; by default one more request is waited for, for a second",
            ),
        ],
    },
    Chart {
        name: "build",
        title: "A clean release build",
        unit: "1 = the CPU time of the core alone",
        panels: &[
            panel("build", "CPU time", "CPU time"),
            panel("build", "crates", "crates in the tree"),
        ],
    },
];

struct Theme {
    name: &'static str,
    text: &'static str,
    faint: &'static str,
    bar: &'static str,
    ours: &'static str,
}

const LIGHT: Theme = Theme {
    name: "light",
    text: "#1f2328",
    faint: "#59636e",
    bar: "#c2cad3",
    ours: "#0969da",
};
const DARK: Theme = Theme {
    name: "dark",
    text: "#f0f6fc",
    faint: "#9198a1",
    bar: "#4b535d",
    ours: "#4493f8",
};

/// The figures of a panel, the smallest first.
fn bars<'a>(lines: &'a [Value], panel: &Panel) -> Vec<(&'a str, f64)> {
    let case = |line: &Value| {
        let case = line["case"].as_str().unwrap_or_default();
        match panel.case.strip_suffix('×') {
            // Of "×1", "×2", "×4" the last one stays.
            Some(start) => case.strip_prefix(start).is_some_and(|n| {
                n.strip_prefix('×') == most_threads(lines, panel.bench, start).as_deref()
            }),
            None => case == panel.case,
        }
    };
    let mut bars: Vec<_> = (lines.iter())
        .filter(|l| l["bench"] == panel.bench && case(l))
        .filter_map(|l| Some((l["who"].as_str()?, l["value"].as_f64()?)))
        .filter(|(who, _)| {
            !UNITS.contains(who) && !who.ends_with("its own") && !who.ends_with("(95 %)")
        })
        .collect();
    bars.sort_by(|a, b| a.1.total_cmp(&b.1));
    bars
}

fn most_threads(lines: &[Value], bench: &str, start: &str) -> Option<String> {
    let of_bench = lines.iter().filter(|l| l["bench"] == bench);
    let threads = of_bench.filter_map(|l| {
        let threads = l["case"].as_str()?.strip_prefix(start)?;
        threads.strip_prefix('×')?.parse::<usize>().ok()
    });
    threads.max().map(|n| n.to_string())
}

const WIDTH: f64 = 720.0;
const NAMES: f64 = 150.0;
const ROW: f64 = 22.0;

fn draw(chart: &Chart, panels: &[(&Panel, Vec<(&str, f64)>)], theme: &Theme) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    text(
        &mut body,
        0.0,
        y,
        theme.text,
        "font-size=\"16\" font-weight=\"600\"",
        chart.title,
    );
    y += 20.0;
    text(&mut body, 0.0, y, theme.faint, "", chart.unit);
    for (panel, bars) in panels {
        y += 14.0;
        if !panel.title.is_empty() {
            y += 18.0;
            text(
                &mut body,
                0.0,
                y,
                theme.text,
                "font-weight=\"600\"",
                panel.title,
            );
            y += 8.0;
        }
        let most = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        for (who, value) in bars {
            let share = if panel.logarithmic {
                (1.0 + value).ln() / (1.0 + most).ln()
            } else {
                value / most
            };
            let width = (share * (WIDTH - NAMES - 70.0)).max(1.0);
            let ours = who.starts_with(OURS) || who.contains("core alone");
            let (fill, weight) = if ours {
                (theme.ours, "font-weight=\"600\"")
            } else {
                (theme.bar, "")
            };
            let middle = y + ROW * 0.68;
            text(
                &mut body,
                NAMES - 8.0,
                middle,
                theme.text,
                &format!("text-anchor=\"end\" {weight}"),
                who,
            );
            let _ = writeln!(
                body,
                r#"<rect x="{NAMES}" y="{:.1}" width="{width:.1}" height="{:.1}" rx="2" fill="{fill}"/>"#,
                y + 3.0,
                ROW - 6.0
            );
            let x = NAMES + width + 6.0;
            text(&mut body, x, middle, theme.faint, "", &shown(*value));
            y += ROW;
        }
    }
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-8 0 {} {height}\" width=\"{}\" height=\"{height}\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', sans-serif\" font-size=\"12\" role=\"img\" \
         aria-label=\"{}\">\n{body}</svg>\n",
        WIDTH + 16.0,
        WIDTH + 16.0,
        escaped(chart.title)
    )
}

fn text(body: &mut String, x: f64, y: f64, fill: &str, more: &str, words: &str) {
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

/// Each target and what was measured, between the markers that `ci/readme-costs.sh` looks for.
fn table(lines: &[Value]) -> String {
    let mut table =
        "<!-- costs, by ci/bench.sh -->\n\n| what | measured | target | |\n|:--|--:|--:|:--|\n"
            .to_owned();
    for line in lines {
        let (Some(what), Some(limit)) = (line["target"].as_str(), line["limit"].as_f64()) else {
            continue;
        };
        let bench = line["bench"].as_str().unwrap_or_default();
        let bound = line["bound"].as_str().unwrap_or_default();
        let value = line["value"].as_f64();
        let verdict = match (value, line["met"].as_bool()) {
            (None, _) => "not measured",
            (_, Some(true)) => "met",
            _ => "**missed**",
        };
        let value = value.map_or("–".to_owned(), shown);
        let _ = writeln!(
            table,
            "| {bench}: {what} | {value} | {bound} {limit} | {verdict} |"
        );
    }
    table += "\n<!-- end of costs -->\n";
    table
}
