//! A [`Series`] as an SVG: the medians of its rounds as lines, and from the least to the most of them as bars.

use std::io;
use std::path::Path;

use plotters::prelude::*;

use super::report::Figure;
use super::scaling::Series;

const SIZE: (u32, u32) = (640, 360);
const OURS: RGBColor = RGBColor(37, 99, 235);
const BARE: RGBColor = RGBColor(120, 120, 120);

/// Draws it. The sizes stand at equal distances, for they grow by factors.
pub fn draw(series: &Series, file: &Path) -> io::Result<()> {
    drawn(series, file).map_err(|error| io::Error::other(error.to_string()))
}

fn drawn(series: &Series, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let values = || series.points.iter().flat_map(|point| point.bare.iter().chain(&point.ours));
    let most = values().copied().fold(0.0, f64::max) * 1.15;
    let last = i32::try_from(series.points.len())? - 1;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((0..last).into_segmented(), 0.0..most)?;
    let label = |place: &SegmentValue<i32>| match place {
        SegmentValue::CenterOf(place) => {
            usize::try_from(*place).ok().and_then(|place| series.points.get(place)).map(|point| point.label.clone())
        }
        SegmentValue::Exact(_) | SegmentValue::Last => None,
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(series.points.len())
        .x_label_formatter(&|place| label(place).unwrap_or_default())
        .x_desc(series.axis)
        .y_desc("CPU us per request")
        .draw()?;
    for (name, colour, rounds) in [
        ("Headcount, durable", OURS, series.points.iter().map(|point| &point.ours).collect::<Vec<_>>()),
        ("bare hyper", BARE, series.points.iter().map(|point| &point.bare).collect()),
    ] {
        let spreads: Vec<(i32, Figure)> = (0..).zip(rounds.into_iter().map(|rounds| Figure::new(name, rounds.clone()))).collect();
        if spreads.iter().all(|(_, figure)| figure.rounds.is_empty()) {
            continue;
        }
        let line = LineSeries::new(
            spreads.iter().map(|(place, figure)| (SegmentValue::CenterOf(*place), figure.median())),
            colour.stroke_width(2),
        )
        .point_size(4);
        chart.draw_series(line)?.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(spreads.iter().map(|(place, spread)| {
            ErrorBar::new_vertical(SegmentValue::CenterOf(*place), spread.least(), spread.median(), spread.most(), colour.filled(), 8)
        }))?;
    }
    chart.configure_series_labels().position(SeriesLabelPosition::LowerRight).border_style(BARE).background_style(WHITE).draw()?;
    Ok(root.present()?)
}

#[cfg(test)]
mod tests {
    use super::super::scaling::Point;
    use super::*;

    #[test]
    fn what_is_measured_is_drawn_with_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.svg");
        let point = |label: &str, bare: &[f64], ours: &[f64]| Point { label: label.to_owned(), bare: bare.to_vec(), ours: ours.to_vec() };
        let drawn = |points| {
            draw(&Series { file: "a.svg", axis: "connections", points }, &file).unwrap();
            std::fs::read_to_string(&file).unwrap()
        };
        let both = drawn(vec![point("64", &[7.0, 8.0], &[15.0]), point("10000", &[9.0], &[20.0, 21.0])]);
        for text in ["connections", "CPU us per request", "10000", "Headcount, durable", "bare hyper"] {
            assert!(both.contains(text), "{text} in {both}");
        }
        assert!(!drawn(vec![point("1", &[], &[15.0]), point("2", &[], &[16.0])]).contains("bare hyper"));
    }
}
