//! The growth as one picture, plain SVG.

use std::fmt::Write as _;

use serde_json::Value;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 34.0;

/// One panel: points (x, y), and what they are.
struct Panel {
    title: &'static str,
    across: &'static str,
    points: Vec<(f64, f64)>,
}

/// CPU against paths, memory against paths, CPU against open findings. A straight line from the
/// origin through the largest point is drawn thin: cost above it grew less than linearly.
pub(super) fn growth(told: &Value) -> String {
    let points = |list: &Value, x: &str, y: &str, scale: f64| {
        let mut points: Vec<(f64, f64)> = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|p| Some((p[x].as_f64()?, p[y].as_f64()? * scale)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let (sizes, findings) = (&told["sizes"], &told["findings"]);
    let panels = [
        Panel {
            title: "CPU, % of one core",
            across: "paths checked each second",
            points: points(sizes, "paths", "cores", 100.0),
        },
        Panel {
            title: "memory, MiB resident",
            across: "paths checked each second",
            points: points(sizes, "paths", "resident_mib", 1.0),
        },
        Panel {
            title: "CPU, % of one core (20,000 accounts)",
            across: "open findings",
            points: points(findings, "open", "cores", 100.0),
        },
    ];
    let wide = (WIDTH + LEFT + 24.0) * panels.len() as f64;
    let high = HEIGHT + TOP + 44.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"#fff\"/>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        let at = (WIDTH + LEFT + 24.0) * n as f64 + LEFT;
        // Writing to a String does not fail.
        let _ = write!(
            svg,
            "<g transform=\"translate({at} {TOP})\">\n{}</g>\n",
            panel.draw()
        );
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self) -> String {
        let most = |of: fn(&(f64, f64)) -> f64| self.points.iter().map(of).fold(1e-9, f64::max);
        let (most_x, most_y) = (most(|p| p.0), most(|p| p.1));
        let place = |(x, y): (f64, f64)| (x / most_x * WIDTH, HEIGHT - y / most_y * HEIGHT * 0.9);
        let mut out = format!(
            "<text y=\"-14\" font-weight=\"bold\">{}</text>\n<path d=\"M0 0V{HEIGHT}H{WIDTH}\" \
             fill=\"none\" stroke=\"#444\"/>\n<text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{} \
             (up to {most_x:.0})</text>\n<text x=\"-6\" y=\"{}\" text-anchor=\"end\">{most_y:.0}</text>\n\
             <text x=\"-6\" y=\"{HEIGHT}\" text-anchor=\"end\">0</text>\n",
            self.title,
            HEIGHT + 18.0,
            self.across,
            HEIGHT * 0.1 + 4.0,
        );
        if let Some(last) = self.points.last() {
            let (x, y) = place(*last);
            let _ = writeln!(
                out,
                "<line x1=\"0\" y1=\"{HEIGHT}\" x2=\"{x:.1}\" y2=\"{y:.1}\" stroke=\"#bbb\" \
                 stroke-dasharray=\"4\"/>"
            );
        }
        for point in &self.points {
            let (x, y) = place(*point);
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#06c\"/>"
            );
        }
        out
    }
}
