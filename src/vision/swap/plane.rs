//! Planes of `f32` on regular lattices over the picture, and the way between lattices.

use crate::frame::{PlaneRef, Sample};

use super::canonical::Points;

/// One value per lattice point, rows contiguous. Buffers are reused: [`Plane::reset`] never shrinks the allocation.
#[derive(Clone, Debug, Default)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub data: Vec<f32>,
}

impl Plane {
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, data: vec![0.0; width * height] }
    }

    /// `width × height` zeros.
    pub fn reset(&mut self, width: usize, height: usize) {
        self.width = width;
        self.height = height;
        self.data.clear();
        self.data.resize(width * height, 0.0);
    }

    pub fn reset_like(&mut self, other: &Plane) {
        self.reset(other.width, other.height);
    }

    pub fn copy_from(&mut self, other: &Plane) {
        self.width = other.width;
        self.height = other.height;
        self.data.clone_from(&other.data);
    }

    pub fn row(&self, y: usize) -> &[f32] {
        &self.data[y * self.width..][..self.width]
    }

    pub fn row_mut(&mut self, y: usize) -> &mut [f32] {
        &mut self.data[y * self.width..][..self.width]
    }

    /// Bilinear value at lattice coordinates, the border repeated.
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let x = x.max(0.0).min((self.width - 1) as f32);
        let y = y.max(0.0).min((self.height - 1) as f32);
        let (column, row) = (x as usize, y as usize);
        let (next_column, next_row) = ((column + 1).min(self.width - 1), (row + 1).min(self.height - 1));
        let (fx, fy) = (x - column as f32, y - row as f32);
        let lerp = |line: &[f32]| line[column] + (line[next_column] - line[column]) * fx;
        let (above, below) = (lerp(self.row(row)), lerp(self.row(next_row)));
        above + (below - above) * fy
    }

    /// The part of the plane in `rect`.
    pub fn cut_into(&self, rect: &Rect, out: &mut Plane) {
        out.reset(rect.width, rect.height);
        for y in 0..rect.height {
            out.row_mut(y).copy_from_slice(&self.row(rect.y + y)[rect.x..][..rect.width]);
        }
    }

    /// Means of 2×2 values (fewer at the right and lower border).
    pub fn halve_into(&self, out: &mut Plane) {
        out.reset(self.width.div_ceil(2), self.height.div_ceil(2));
        for y in 0..out.height {
            let upper = self.row(2 * y);
            let lower = self.row((2 * y + 1).min(self.height - 1));
            for ((value, a), b) in out.row_mut(y).iter_mut().zip(upper.chunks(2)).zip(lower.chunks(2)) {
                *value = (a.iter().sum::<f32>() + b.iter().sum::<f32>()) / (2 * a.len()) as f32;
            }
        }
    }

    /// `Σ self·weight` and `Σ weight`, in double precision.
    pub fn weighted_sum(&self, weight: &Plane) -> (f64, f64) {
        let rows = self.data.chunks(self.width.max(1)).zip(weight.data.chunks(self.width.max(1)));
        rows.fold((0.0, 0.0), |(sum, total), (values, weights)| {
            let (mut s, mut w) = ([0.0f32; 8], [0.0f32; 8]);
            for (i, (v, m)) in values.iter().zip(weights).enumerate() {
                s[i & 7] += v * m;
                w[i & 7] += m;
            }
            (sum + f64::from(s.iter().sum::<f32>()), total + f64::from(w.iter().sum::<f32>()))
        })
    }
}

/// A part of a grid, or of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

impl Rect {
    /// The whole points around `polygon` and `margin` about it, inside a `width × height` grid; None if there are none.
    pub fn around(polygon: &[[f32; 2]], margin: f32, width: usize, height: usize) -> Option<Rect> {
        let side = |axis: usize, size: usize| {
            let values = || polygon.iter().map(|p| p[axis]);
            let low = values().fold(f32::INFINITY, f32::min) - margin;
            let high = values().fold(f32::NEG_INFINITY, f32::max) + margin;
            let first = low.floor().max(0.0).min(size as f32) as usize;
            let end = ((high.ceil() + 1.0).max(0.0) as usize).min(size);
            (first < end).then(|| (first, end - first))
        };
        let ((x, width), (y, height)) = (side(0, width)?, side(1, height)?);
        Some(Rect { x, y, width, height })
    }
}

/// Where the points of a plane lie in the picture (luma pixels, centres at integers): point (i, j) at `origin + (i, j)·step`.
#[derive(Clone, Copy, Debug)]
pub struct Lattice {
    pub origin: [f32; 2],
    pub step: [f32; 2],
    pub width: usize,
    pub height: usize,
}

impl Lattice {
    /// A picture point in lattice coordinates.
    pub fn locate(&self, point: [f32; 2]) -> [f32; 2] {
        // Steps are powers of two: their reciprocals are exact.
        [(point[0] - self.origin[0]) * self.step[0].recip(), (point[1] - self.origin[1]) * self.step[1].recip()]
    }

    /// A mesh in lattice coordinates; z in lattice steps too.
    pub fn locate_mesh(&self, points: &Points) -> Points {
        points.map(|[x, y, z]| {
            let [u, v] = self.locate([x, y]);
            [u, v, z / self.step[0]]
        })
    }
}

/// The part of a picture that a face can change, and the cells of the two coarse grids over it.
///
/// Origin and cells are aligned to the picture, not to the face, so that what stands still is averaged alike in every frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Left column, luma pixels; a multiple of 4 and of every cell.
    pub x: usize,
    /// Upper row, likewise.
    pub y: usize,
    pub width: usize,
    pub height: usize,
    /// Side of a cell of the mask grid: a power of two that leaves the face 96 to 192 cells wide (1 for smaller faces).
    pub cell: usize,
    /// Side of a cell of the light grid: half as fine.
    pub light_cell: usize,
    /// 3-D distance of landmarks 234 and 454, luma pixels.
    pub face_width: f32,
    /// The pixels that the mesh itself covers, inside the region and aligned like it (luma pixels of the picture).
    pub window: Rect,
}

/// Faces narrower than this are left alone: there is nothing to see, and every blur would fall below a pixel.
const MIN_FACE_WIDTH: f32 = 16.0;
/// Room around the mesh's bounds, in face widths: the reach of the fine blurs. The light field looks inside the mesh only.
const MARGIN: f32 = 0.05;
/// Cells that a face on the mask grid has at least.
const MASK_CELLS: f32 = 96.0;

impl Region {
    /// None where the mesh is unusable (not finite, too small, far larger than the picture) or lies outside of it.
    pub fn around(points: &Points, width: usize, height: usize) -> Option<Region> {
        let face_width = super::canonical::face_width(points);
        let limit = 8.0 * width.max(height) as f32;
        if !(face_width >= MIN_FACE_WIDTH && face_width <= limit) {
            return None;
        }
        let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        for point in points {
            let is_sane = point.iter().all(|v| v.abs() <= limit);
            if !is_sane {
                return None;
            }
            for axis in 0..2 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        let mut cell = 1;
        while face_width / (2 * cell) as f32 >= MASK_CELLS {
            cell *= 2;
        }
        let light_cell = if face_width >= MASK_CELLS { 2 * cell } else { cell };
        let align = light_cell.max(4);
        let around = |margin: f32| {
            let start = |v: f32| (v - margin).floor().max(0.0) as usize / align * align;
            let end = |v: f32, size: usize| ((v + margin).ceil().max(0.0) as usize).min(size);
            let (x, y) = (start(low[0]), start(low[1]));
            let (right, lower) = (end(high[0], width), end(high[1], height));
            let is_visible = x + 2 <= right && y + 2 <= lower;
            is_visible.then(|| Rect { x, y, width: right - x, height: lower - y })
        };
        let window = around(cell as f32)?;
        let Rect { x, y, width, height } = around(MARGIN * face_width)?;
        Some(Region { x, y, width, height, cell, light_cell, face_width, window })
    }

    /// A whole picture as a region.
    pub fn whole(width: usize, height: usize, face_width: f32) -> Region {
        let window = Rect { x: 0, y: 0, width, height };
        Region { x: 0, y: 0, width, height, cell: 1, light_cell: 1, face_width, window }
    }

    pub fn grid(&self, cell: usize) -> Lattice {
        let centre = (cell as f32 - 1.0) / 2.0;
        Lattice {
            origin: [self.x as f32 + centre, self.y as f32 + centre],
            step: [cell as f32; 2],
            width: self.width.div_ceil(cell),
            height: self.height.div_ceil(cell),
        }
    }

    /// Luma pixels of the window.
    pub fn pixels(&self) -> Lattice {
        let Rect { x, y, width, height } = self.window;
        Lattice { origin: [x as f32, y as f32], step: [1.0; 2], width, height }
    }

    /// For masks, hair and fine blurs.
    pub fn mask_grid(&self) -> Lattice {
        self.grid(self.cell)
    }

    /// For the light field.
    pub fn light_grid(&self) -> Lattice {
        self.grid(self.light_cell)
    }
}

/// Means of `table[sample]` over the cells of a grid of `region` (luma: `shift` 0; chroma: its log2 subsampling).
pub fn cell_means<S: Sample>(
    plane: PlaneRef<'_, S>,
    shift: (u8, u8),
    table: &S::Table,
    region: &Region,
    cell: usize,
    out: &mut Plane,
) {
    out.reset(region.width.div_ceil(cell), region.height.div_ceil(cell));
    let size = ((cell >> shift.0).max(1), (cell >> shift.1).max(1));
    let is_contiguous = cell >> shift.0 >= 1;
    let first_column = region.x >> shift.0;
    // Samples of the region only: cells at its right and lower border may be partial.
    let last_column = (region.x + region.width).div_ceil(1 << shift.0).min(plane.width);
    let last_row = (region.y + region.height).div_ceil(1 << shift.1).min(plane.height);
    for j in 0..out.height {
        let row = (region.y + j * cell) >> shift.1;
        let rows = row..(row + size.1).min(last_row);
        let count = rows.len();
        for y in rows {
            let samples = &plane.row(y)[first_column..last_column];
            let sums = out.row_mut(j);
            if is_contiguous {
                add_cells(samples, size.0, table, sums);
            } else {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum += samples[(i * cell) >> shift.0].look_up(table);
                }
            }
        }
        let whole = 1.0 / (count * size.0) as f32;
        let last = (last_column - first_column) - (out.width - 1) * size.0 * usize::from(is_contiguous);
        let sums = out.row_mut(j);
        sums.iter_mut().for_each(|sum| *sum *= whole);
        if is_contiguous
            && last < size.0
            && let Some(sum) = sums.last_mut()
        {
            *sum *= size.0 as f32 / last as f32;
        }
    }
}

fn add_cells<S: Sample>(samples: &[S], size: usize, table: &S::Table, sums: &mut [f32]) {
    fn fixed<const N: usize, S: Sample>(samples: &[S], table: &S::Table, sums: &mut [f32]) {
        let (cells, rest) = samples.as_chunks::<N>();
        for (sum, cell) in sums.iter_mut().zip(cells) {
            *sum += cell.iter().map(|v| v.look_up(table)).sum::<f32>();
        }
        if let Some(sum) = sums.get_mut(cells.len()) {
            *sum += rest.iter().map(|v| v.look_up(table)).sum::<f32>();
        }
    }
    match size {
        1 => fixed::<1, S>(samples, table, sums),
        2 => fixed::<2, S>(samples, table, sums),
        4 => fixed::<4, S>(samples, table, sums),
        8 => fixed::<8, S>(samples, table, sums),
        _ => {
            for (sum, cell) in sums.iter_mut().zip(samples.chunks(size)) {
                *sum += cell.iter().map(|v| v.look_up(table)).sum::<f32>();
            }
        }
    }
}

/// Bilinear interpolation from a coarse lattice to the rows of a finer one, with the columns worked out once.
#[derive(Default)]
pub struct Interpolation {
    columns: Vec<(u32, f32)>,
    rows: Vec<(u32, f32)>,
}

impl Interpolation {
    pub fn prepare(&mut self, from: &Lattice, to: &Lattice) {
        let fill = |table: &mut Vec<(u32, f32)>, axis: usize, count: usize, size: usize| {
            table.clear();
            table.extend((0..count).map(|i| {
                let place = (to.origin[axis] + i as f32 * to.step[axis] - from.origin[axis]) / from.step[axis];
                // The left neighbour never is the last point, so that its right neighbour exists (weight 1 there).
                let left = place.max(0.0).min((size.max(2) - 2) as f32).floor();
                (left as u32, (place - left).clamp(0.0, 1.0))
            }));
        };
        fill(&mut self.columns, 0, to.width, from.width);
        fill(&mut self.rows, 1, to.height, from.height);
    }

    fn expand(&self, line: &[f32], out: &mut Vec<f32>) {
        out.clear();
        if line.len() < 2 {
            out.resize(self.columns.len(), line.first().copied().unwrap_or(0.0));
            return;
        }
        out.extend(self.columns.iter().map(|&(left, share)| {
            let pair = &line[left as usize..][..2];
            pair[0] + (pair[1] - pair[0]) * share
        }));
    }

    /// The whole plane on the finer lattice.
    pub fn apply(&self, plane: &Plane, out: &mut Plane) {
        out.reset(self.columns.len(), self.rows.len());
        let mut lines = Lines::default();
        for y in 0..out.height {
            let (above, below, share) = lines.at(self, plane, y);
            for ((value, a), b) in out.row_mut(y).iter_mut().zip(above).zip(below) {
                *value = a + (b - a) * share;
            }
        }
    }
}

/// Two neighbouring rows of a coarse plane, stretched to the finer lattice's width and kept while they are in use.
#[derive(Default)]
pub struct Lines {
    above: Vec<f32>,
    below: Vec<f32>,
    row: Option<u32>,
}

impl Lines {
    /// Forget the rows of the plane before.
    pub fn restart(&mut self) {
        self.row = None;
    }

    /// (row above, row below, share of the row below) for row `y` of the finer lattice.
    pub fn at(&mut self, way: &Interpolation, plane: &Plane, y: usize) -> (&[f32], &[f32], f32) {
        let (row, share) = way.rows[y];
        if self.row != Some(row) {
            let follows = row > 0 && self.row == Some(row - 1);
            if follows {
                std::mem::swap(&mut self.above, &mut self.below);
            } else {
                way.expand(plane.row(row as usize), &mut self.above);
            }
            way.expand(plane.row((row as usize + 1).min(plane.height - 1)), &mut self.below);
            self.row = Some(row);
        }
        (&self.above, &self.below, share)
    }
}
