//! What is said of a clip's broken frames, and whether its job goes on with them.

use crate::contract::{Damage, Plan, Run};

/// Why a run ends for the damage of its clip; `None` if it goes on.
pub fn too_much(damage: Damage, run: &Run, plan: &Plan) -> Option<String> {
    let frames = plan.clip.frames();
    if run.job.tolerate_damage || plan.clip.is_folder() || !damage.is_too_much(frames) {
        return None;
    }
    let Damage { frames: broken, in_a_row, black, .. } = damage;
    let black = if black > 0 { format!(", {black} without a whole one near") } else { String::new() };
    Some(format!(
        "target: {broken} of its {frames} frames are damaged, up to {in_a_row} in a row{black}, the first at {} (expected one in 20 at \
         most, and 25 in a row; tolerate_damage accepts all)",
        time_of_first(damage, plan)
    ))
}

/// What the user is told; `None` if nothing is broken.
pub fn warning(damage: Damage, plan: &Plan) -> Option<String> {
    let first = time_of_first(damage, plan);
    match damage.frames {
        0 => None,
        frames if damage.black > 0 => Some(format!(
            "{frames} frames were damaged, the first at {first}: {} are black, the others repeat their neighbours",
            damage.black
        )),
        1 => Some(format!("1 frame was damaged and repeats its neighbour, at {first}")),
        frames => Some(format!("{frames} frames were damaged and repeat their neighbours, the first at {first}")),
    }
}

/// Between which times a chunk's frames are shown, or which still it is.
pub fn times_of_chunk(plan: &Plan, chunk: u32) -> String {
    if let Some(still) = plan.clip.stills.get(chunk as usize) {
        return still.name.clone();
    }
    match plan.chunks.get(chunk as usize) {
        Some(cut) => format!("{} to {}", time_of(plan, cut.start), time_of(plan, cut.end - 1)),
        None => "beyond the clip".to_owned(),
    }
}

fn time_of_first(damage: Damage, plan: &Plan) -> String {
    damage.first.map_or_else(|| "an unknown time".to_owned(), |frame| time_of(plan, frame))
}

/// From the first frame of the output.
fn time_of(plan: &Plan, frame: u64) -> String {
    let clip = &plan.clip;
    let ticks = clip.pts.get(frame as usize).zip(clip.pts.first()).map_or(0, |(time, first)| time - first);
    format!("{:.3} s", ticks as f64 * f64::from(clip.time_base.num) / f64::from(clip.time_base.den))
}
