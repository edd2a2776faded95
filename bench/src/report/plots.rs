//! Plots as SVG. Pure: points in, a drawing out.

use anyhow::anyhow;
use plotters::{
    chart::{ChartBuilder, ChartContext, SeriesLabelPosition},
    coord::{CoordTranslate, Shift},
    drawing::{DrawingArea, IntoDrawingArea},
    element::{PathElement, Rectangle, Text},
    prelude::{Color, IntoFont, IntoLogRange, LineSeries, Palette, Palette99, SVGBackend},
    style::{BLACK, WHITE},
};

const SIZE: (u32, u32) = (760, 380);
const FONT: &str = "sans-serif";
/// The slowest share of all that a plot of percentiles still tells apart: one in so many.
const RAREST: f64 = 10_000.0;

/// A line with its name.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// Latency in milliseconds by percentile; both axes are logarithmic, the rare cases have room.
pub fn latency(title: &str, lines: &[Line<'_>]) -> anyhow::Result<String> {
    // A percentile is drawn as "one in n is slower".
    let rarity = |percentile: f64| (100.0 / (100.0 - percentile).max(1e-9)).min(RAREST);
    let lines: Vec<Line<'_>> = lines
        .iter()
        .map(|(name, curve)| (*name, curve.iter().map(|(at, ms)| (rarity(*at), ms.max(0.01))).collect()))
        .collect();
    let highest = highest(&lines);
    draw(|area| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, (FONT, 16))
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(56)
            .build_cartesian_2d((1.0..RAREST).log_scale(), (0.1..highest * 1.2).log_scale())?;
        let percentile = |rarity: &f64| format!("{}%", trimmed(100.0 - 100.0 / rarity));
        chart
            .configure_mesh()
            .x_desc("percentile")
            .y_desc("ms")
            .x_label_formatter(&percentile)
            .light_line_style(WHITE)
            .draw()?;
        draw_lines(&mut chart, &lines, SeriesLabelPosition::UpperLeft)
    })
}

/// Something over something else, from zero.
pub fn lines(title: &str, x: &str, y: &str, lines: &[Line<'_>]) -> anyhow::Result<String> {
    let widest = lines.iter().flat_map(|(_, points)| points).map(|(x, _)| *x).fold(1e-9, f64::max);
    let highest = highest(lines);
    draw(|area| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, (FONT, 16))
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..widest, 0.0..highest * 1.1)?;
        chart.configure_mesh().x_desc(x).y_desc(y).light_line_style(WHITE).draw()?;
        draw_lines(&mut chart, lines, SeriesLabelPosition::LowerRight)
    })
}

/// Bars beside each other on a logarithmic scale, with their values.
pub fn bars(title: &str, y: &str, bars: &[(&str, f64)]) -> anyhow::Result<String> {
    let highest = bars.iter().map(|(_, value)| *value).fold(10.0, f64::max) * 3.0;
    let count = u32::try_from(bars.len())?;
    draw(|area| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, (FONT, 16))
            .margin(10)
            .x_label_area_size(28)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..f64::from(count), (1.0..highest).log_scale())?;
        chart.configure_mesh().disable_x_mesh().disable_x_axis().y_desc(y).light_line_style(WHITE).draw()?;
        for (number, (name, value)) in (0_u32..).zip(bars) {
            let left = f64::from(number);
            let corners = [(left + 0.15, 1.0), (left + 0.85, value.max(1.0))];
            let color = Palette99::pick(number as usize).to_rgba();
            chart.draw_series([Rectangle::new(corners, color.filled())])?;
            let label = format!("{name}: {value:.0}");
            chart.draw_series([Text::new(
                label,
                (left + 0.15, value.max(1.0) * 1.5),
                (FONT, 13).into_font().color(&BLACK),
            )])?;
        }
        Ok(())
    })
}

/// The lines, each in its color, and what they are called.
fn draw_lines<'a, 'b: 'a, C: CoordTranslate<From = (f64, f64)>>(
    chart: &mut ChartContext<'a, SVGBackend<'b>, C>,
    lines: &[Line<'_>],
    names_at: SeriesLabelPosition,
) -> Result<(), Box<dyn std::error::Error>> {
    for (number, (name, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().position(names_at).background_style(WHITE).draw()?;
    Ok(())
}

fn draw(
    fill: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn std::error::Error>>,
) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        fill(&area).map_err(|error| anyhow!("a plot cannot be drawn: {error}"))?;
        area.present()?;
    }
    Ok(svg)
}

fn highest(lines: &[Line<'_>]) -> f64 {
    lines.iter().flat_map(|(_, points)| points).map(|(_, y)| *y).fold(1.0, f64::max)
}

fn trimmed(value: f64) -> String {
    format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_hold_their_lines_and_names() {
        let curve = vec![(0.0, 1.0), (50.0, 2.0), (99.0, 30.0), (100.0, 90.0)];
        let svg = latency("how long", &[("accepted", curve)]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("how long") && svg.contains("accepted"));
        assert!(svg.contains("<polyline"));
        let svg = lines("rate", "s", "orders/s", &[("outcomes", vec![(0.0, 0.0), (1.0, 500.0)])]).unwrap();
        assert!(svg.contains("outcomes") && svg.contains("<polyline"));
        let svg = bars("ratios", "orders/s", &[("classic", 300.0), ("sockets", 3000.0)]).unwrap();
        assert!(svg.contains("classic: 300") && svg.contains("sockets: 3000"));
    }

    #[test]
    fn nothing_can_be_drawn_too() {
        assert!(lines("nothing", "x", "y", &[]).is_ok());
        assert!(latency("nothing", &[("none", Vec::new())]).is_ok());
        assert!(bars("nothing", "y", &[]).is_ok());
    }
}
