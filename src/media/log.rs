//! FFmpeg's own messages go to `tracing` and never to stderr.
//!
//! Whatever matters is in the returned errors; these lines only help whoever looks for the reason behind one.

use ffmpeg_next::ffi;

/// Routes FFmpeg's messages; see [`super::init`].
pub(super) fn install() {
    // SVT-AV1 writes to stderr by itself, as much as this variable says: 1 is errors only. One that is set already stays.
    // SAFETY: both are strings of C's; this is called before there are other threads.
    unsafe { libc::setenv(c"SVT_LOG".as_ptr(), c"1".as_ptr(), 0) };
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `forward` is a function for the whole life of the program and may be called from any thread.
    unsafe {
        ffi::av_log_set_level(ffi::AV_LOG_WARNING);
        ffi::av_log_set_callback(Some(forward));
    }
    // The type of a C `va_list` differs by machine; elsewhere FFmpeg just keeps quiet.
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: sets a global number.
    unsafe {
        ffi::av_log_set_level(ffi::AV_LOG_QUIET);
    }
}

// SAFETY: only FFmpeg calls this, as the callback of its log, with the arguments that it promises there.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn forward(
    context: *mut std::ffi::c_void,
    level: std::ffi::c_int,
    format: *const std::ffi::c_char,
    arguments: *mut ffi::__va_list_tag,
) {
    if level > ffi::AV_LOG_WARNING {
        return;
    }
    let mut line = [0_u8; 512];
    let mut prefix = 1;
    // SAFETY: FFmpeg hands over a valid context, format and arguments; the length is the buffer's, and the result is
    // terminated with a zero within it.
    unsafe {
        ffi::av_log_format_line2(
            context,
            level,
            format,
            arguments,
            line.as_mut_ptr().cast(),
            line.len() as std::ffi::c_int,
            &mut prefix,
        );
    }
    let end = line.iter().position(|&byte| byte == 0).unwrap_or(line.len());
    let text = String::from_utf8_lossy(&line[..end]);
    // Broken clips make FFmpeg warn without end; a warning of ours comes with the error that it leads to.
    tracing::debug!(target: "ffmpeg", "{}", text.trim_end());
}
