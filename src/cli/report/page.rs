//! The report as one page: it needs no other file, no script and no network, and is light or dark as its reader's system is.

use minijinja::{AutoEscape, Environment, Value, context};
use plotters::prelude::*;

use super::figures::{Figures, Part, Shown, cents, seconds};
use crate::error::{Code, Error, Result};
use crate::report::By;

/// The size of a chart in its own units: it grows and shrinks with the page.
const SIZE: (u32, u32) = (720, 220);

/// What the colours of charts stand for. The page's style sheet gives each another value in the dark.
const COLORS: [RGBColor; 3] = [RGBColor(0x2f, 0x6f, 0xb5), RGBColor(0x2e, 0x8b, 0x57), RGBColor(0xc2, 0x4b, 0x2b)];
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// The page.
///
/// # Errors
/// `BUG` where it cannot be drawn.
pub fn of(report: &Shown) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("page", include_str!("page.html")).map_err(not_drawn)?;
    let stages: Vec<_> = report
        .stages()
        .into_iter()
        .map(|(name, count)| {
            let percent = count as f64 * 100.0 / report.whole.asked.max(1) as f64;
            context! { name, count, percent => format!("{percent:.1}") }
        })
        .collect();
    let tables: Vec<_> = [By::Country, By::Purpose, By::Provider, By::Day, By::Hour]
        .iter()
        .map(|by| {
            let parts = report.parts.iter().filter(|part| part.by == *by);
            let rows: Vec<_> = parts.map(|part| row(&part.name, &part.figures)).collect();
            context! { title => title(*by), by => by.as_str(), rows }
        })
        .collect();
    let charts = [By::Day, By::Hour].iter().map(|by| chart(report, *by)).collect::<Result<Vec<_>>>()?;
    let refusals = report.refusals.iter().map(|one| context! { reason => one.reason.clone(), count => one.count });
    let failures = report.failures.iter().map(|one| {
        let code = one.code.map_or_else(|| "–".to_owned(), |code| code.to_string());
        context! { code, meaning => one.meaning.clone(), count => one.count }
    });
    let page = environment.get_template("page").and_then(|page| {
        page.render(context! {
            title => report.title(),
            whole => row("", &report.whole),
            reported => report.whole.reported(),
            stages, tables,
            charts,
            refusals => refusals.collect::<Vec<_>>(),
            failures => failures.collect::<Vec<_>>(),
        })
    });
    page.map_err(not_drawn)
}

fn row(name: &str, figures: &Figures) -> Value {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    context! {
        name => if name.is_empty() { "–" } else { name },
        asked => figures.asked,
        refused => figures.refused,
        messages => figures.messages,
        delivered => figures.delivered,
        failed => figures.failed,
        unknown => figures.unknown,
        verified => figures.verified,
        conversion => or_dash(figures.conversion_percent.map(|percent| format!("{percent:.1} %"))),
        deliver => or_dash(figures.deliver_seconds.map(seconds)),
        verify => or_dash(figures.verify_seconds.map(seconds)),
        cost => cents(figures.cost),
    }
}

fn title(by: By) -> &'static str {
    match by {
        By::Purpose => "By purpose",
        By::Country => "By country",
        By::Provider => "By provider",
        By::Hour => "By hour of the day (UTC)",
        By::Day => "By day (UTC)",
    }
}

/// A chart with its title, and with words for whoever cannot see it: messages, codes that were entered and refusals beside each other, for each part.
fn chart(report: &Shown, by: By) -> Result<Value> {
    let parts: Vec<&Part> = report.parts.iter().filter(|part| part.by == by).collect();
    let of = |part: &Part| [part.figures.messages, part.figures.verified, part.figures.refused];
    let most = parts.iter().flat_map(|part| of(part)).max().unwrap_or_default().max(1);
    let mut svg = String::new();
    draw(&mut svg, &parts, of, most)?;
    let busiest = parts.iter().max_by_key(|part| part.figures.messages);
    let words = busiest.map_or_else(String::new, |part| {
        format!(
            "Most messages, {}, belong to {}. The numbers are in the table below.",
            part.figures.messages, part.name
        )
    });
    // The size is the page's business; the chart keeps its proportions.
    let svg = svg.replacen(&format!("width=\"{}\" height=\"{}\" ", SIZE.0, SIZE.1), "", 1);
    Ok(context! { title => title(by), words, svg })
}

fn draw(svg: &mut String, parts: &[&Part], of: impl Fn(&Part) -> [u64; 3], most: u64) -> Result<()> {
    let count = parts.len().max(1);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..count as f64, 0.0..most as f64 * 1.05)
        .map_err(not_drawn)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .x_labels(0)
        .y_labels(5)
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()
        .map_err(not_drawn)?;
    for (nth, part) in parts.iter().enumerate() {
        for (kind, (value, color)) in of(part).into_iter().zip(COLORS).enumerate() {
            let from = nth as f64 + 0.1 + kind as f64 * 0.27;
            let bar = Rectangle::new([(from, 0.0), (from + 0.25, value as f64)], color.filled());
            chart.draw_series(std::iter::once(bar)).map_err(not_drawn)?;
        }
    }
    // Not more names than there is room for.
    let every = count.div_ceil(12);
    let (style, (_, below)) = (("sans-serif", 12).into_font().color(&INK), area.dim_in_pixel());
    for (nth, part) in parts.iter().enumerate().step_by(every) {
        let (x, _) = chart.backend_coord(&(nth as f64 + 0.1, 0.0));
        area.draw(&Text::new(short(&part.name), (x, below as i32 - 26), style.clone())).map_err(not_drawn)?;
    }
    area.present().map_err(not_drawn)
}

/// A day without its year.
fn short(name: &str) -> String {
    match name.len() {
        10 => name.get(5..).unwrap_or(name).to_owned(),
        _ => name.to_owned(),
    }
}

fn not_drawn(error: impl std::fmt::Display) -> Error {
    Error::new(Code::BUG, format!("the page cannot be drawn: {error}"))
}
