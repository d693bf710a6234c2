//! How the C library keeps memory. Frames are large and short-lived, and come from a few threads per chunk.
//!
//! glibc would keep what each of these threads has freed in an arena of its own, and frames in the heap once it has seen some freed:
//! the process would grow with the number of chunks it has done (measured at 720p with two lanes: from 460 to 640 MB).

/// Arenas for all threads together.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: std::ffi::c_int = 2;
/// Blocks from this size on go back to the system as soon as they are freed, bytes: a frame does, what lies within one does not.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM: std::ffi::c_int = 1 << 20;

/// The largest block that FFmpeg may allocate, bytes: a plane of the largest picture at 16 bits a sample is an eighth of it. What a file
/// promises of itself is no reason to take more.
const BLOCK_MAX: usize = 1 << 29;

/// Limits what FFmpeg allocates at once.
pub fn limit_blocks() {
    // SAFETY: sets a global number.
    unsafe { ffmpeg_next::ffi::av_max_alloc(BLOCK_MAX) };
}

/// Keeps the process small; call once, before threads allocate.
pub fn keep_small() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets two numbers of the allocator; what they may be is checked there, and a refusal changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
    }
}
