//! Polygons on planes: antialiased filling, convex hulls, distances.

use super::plane::Plane;

/// Scan lines per row; coverage along a line is exact.
const LINES: usize = 4;

/// Adds the polygon's coverage (0..1 per point, even-odd rule) to `plane`, bounded by 1. Points in lattice coordinates.
pub fn fill(plane: &mut Plane, polygon: &[[f32; 2]], crossings: &mut Vec<f32>) {
    let (top, bottom) =
        polygon.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(top, bottom), p| (top.min(p[1]), bottom.max(p[1])));
    let is_outside = !(bottom > -1.0 && top < plane.height as f32);
    if is_outside || plane.width == 0 {
        return;
    }
    let first = (top - 0.5).floor().max(0.0) as usize;
    let last = ((bottom + 0.5).ceil().max(0.0) as usize).min(plane.height - 1);
    let width = plane.width as f32;
    for row in first..=last {
        for line in 0..LINES {
            let y = row as f32 - 0.5 + (line as f32 + 0.5) / LINES as f32;
            crossings.clear();
            let sides = polygon.iter().zip(polygon.iter().cycle().skip(1));
            crossings.extend(sides.filter(|(a, b)| (a[1] <= y) != (b[1] <= y)).map(|(a, b)| {
                // Point i covers [i − ½, i + ½).
                a[0] + (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + 0.5
            }));
            crossings.sort_unstable_by(f32::total_cmp);
            for span in crossings.chunks_exact(2) {
                let (left, right) = (span[0].clamp(0.0, width), span[1].clamp(0.0, width));
                add_span(plane.row_mut(row), left, right, 1.0 / LINES as f32);
            }
        }
        plane.row_mut(row).iter_mut().for_each(|v| *v = v.min(1.0));
    }
}

fn add_span(row: &mut [f32], left: f32, right: f32, weight: f32) {
    let (first, last) = (left as usize, right as usize);
    if first == last {
        if let Some(value) = row.get_mut(first) {
            *value += (right - left) * weight;
        }
        return;
    }
    row[first] += (first as f32 + 1.0 - left) * weight;
    row[first + 1..last].iter_mut().for_each(|v| *v += weight);
    if let Some(value) = row.get_mut(last) {
        *value += (right - last as f32) * weight;
    }
}

/// Convex hull, counter-clockwise in a picture with y down (Andrew's monotone chain).
pub fn convex_hull(points: &[[f32; 2]]) -> Vec<[f32; 2]> {
    let mut sorted = points.to_vec();
    sorted.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let turn = |a: [f32; 2], b: [f32; 2], c: [f32; 2]| (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
    let chain = |points: &mut dyn Iterator<Item = &[f32; 2]>| {
        let mut hull: Vec<[f32; 2]> = Vec::new();
        for &point in points {
            while hull.len() >= 2 && turn(hull[hull.len() - 2], hull[hull.len() - 1], point) <= 0.0 {
                hull.pop();
            }
            hull.push(point);
        }
        hull.pop();
        hull
    };
    let mut hull = chain(&mut sorted.iter());
    hull.extend(chain(&mut sorted.iter().rev()));
    hull
}

/// Distance of `point` from the polygon's border, positive inside.
pub fn signed_distance(polygon: &[[f32; 2]], point: [f32; 2]) -> f32 {
    let mut is_inside = false;
    let mut nearest = f32::INFINITY;
    for (a, b) in polygon.iter().zip(polygon.iter().cycle().skip(1)) {
        if (a[1] <= point[1]) != (b[1] <= point[1]) {
            let x = a[0] + (b[0] - a[0]) * (point[1] - a[1]) / (b[1] - a[1]);
            is_inside ^= point[0] < x;
        }
        let (side, from) = ([b[0] - a[0], b[1] - a[1]], [point[0] - a[0], point[1] - a[1]]);
        let length = side[0] * side[0] + side[1] * side[1];
        let t = ((from[0] * side[0] + from[1] * side[1]) / length.max(1e-12)).clamp(0.0, 1.0);
        nearest = nearest.min((from[0] - t * side[0]).hypot(from[1] - t * side[1]));
    }
    if is_inside { nearest } else { -nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(polygon: &[[f32; 2]]) -> Plane {
        let mut plane = Plane::new(8, 6);
        fill(&mut plane, polygon, &mut Vec::new());
        plane
    }

    #[test]
    fn coverage_is_the_area() {
        let cases: [(&[[f32; 2]], f32); 4] = [
            (&[[0.5, 0.5], [4.5, 0.5], [4.5, 3.5], [0.5, 3.5]], 12.0),
            (&[[1.25, 0.5], [2.0, 0.5], [2.0, 2.5], [1.25, 2.5]], 1.5),
            (&[[-9.0, -9.0], [20.0, -9.0], [20.0, 20.0], [-9.0, 20.0]], 48.0),
            (&[[40.0, 1.0], [50.0, 1.0], [45.0, 4.0]], 0.0),
        ];
        for (polygon, expected) in cases {
            let sum: f32 = filled(polygon).data.iter().sum();
            assert!((sum - expected).abs() < 1e-3, "{polygon:?}: {sum}, expected {expected}");
        }
    }

    #[test]
    fn unusable_points_paint_nothing() {
        assert!(filled(&[[f32::NAN; 2]; 3]).data.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn distance_is_positive_inside() {
        let square = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]];
        for (point, expected) in [([2.0, 2.0], 2.0), ([1.0, 2.0], 1.0), ([-3.0, 2.0], -3.0), ([7.0, 8.0], -5.0)] {
            assert_eq!(signed_distance(&square, point), expected);
        }
    }

    #[test]
    fn hull_leaves_out_inner_points() {
        let hull = convex_hull(&[[0.0, 0.0], [2.0, 0.0], [1.0, 1.0], [2.0, 2.0], [0.0, 2.0]]);
        assert_eq!(hull.len(), 4);
        assert!(!hull.contains(&[1.0, 1.0]));
    }
}
