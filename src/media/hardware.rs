//! Frames on their way into an encoder in hardware: repacked as all of them take them, and put on the device where that
//! is wanted.

use std::ptr;

use ffmpeg::format::Pixel;
use ffmpeg::{ffi, frame};
use ffmpeg_next as ffmpeg;

use super::encoders::Hardware;

/// Frames that an encoder may hold on the device at once: more than any looks ahead.
const FRAMES_ON_DEVICE: i32 = 32;

/// The way into one opened encoder.
pub(super) struct Upload {
    /// The device's pool of frames; null where the encoder takes them from memory.
    pool: *mut ffi::AVBufferRef,
}

// SAFETY: buffer references are counted atomically, and this one is used by whoever has the encoder only.
unsafe impl Send for Upload {}

impl Upload {
    /// For frames like `first`. `context` is not opened yet, and is told what it will get.
    ///
    /// # Errors
    /// FFmpeg's, where there is no such device or it has no place for such frames.
    ///
    /// # Safety
    /// `context` must be valid.
    pub(super) unsafe fn prepare(
        hardware: Hardware,
        context: *mut ffi::AVCodecContext,
        format: Pixel,
        (width, height): (u32, u32),
    ) -> Result<Self, ffmpeg::Error> {
        let packed = packed_format(format);
        // SAFETY: the context is valid by contract; what is allocated here is owned by `upload`, or by the context.
        unsafe {
            if hardware != Hardware::Vaapi {
                (*context).pix_fmt = packed.into();
                return Ok(Self { pool: ptr::null_mut() });
            }
            let mut device = ptr::null_mut();
            let kind = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI;
            checked(ffi::av_hwdevice_ctx_create(&mut device, kind, ptr::null(), ptr::null_mut(), 0))?;
            let upload = Self { pool: ffi::av_hwframe_ctx_alloc(device) };
            ffi::av_buffer_unref(&mut device); // the pool has a reference of its own
            if upload.pool.is_null() {
                return Err(ffmpeg::Error::Other { errno: libc::ENOMEM });
            }
            let pool = (*upload.pool).data.cast::<ffi::AVHWFramesContext>();
            (*pool).format = ffi::AVPixelFormat::AV_PIX_FMT_VAAPI;
            (*pool).sw_format = packed.into();
            (*pool).width = i32::try_from(width).map_err(|_| ffmpeg::Error::InvalidData)?;
            (*pool).height = i32::try_from(height).map_err(|_| ffmpeg::Error::InvalidData)?;
            (*pool).initial_pool_size = FRAMES_ON_DEVICE;
            checked(ffi::av_hwframe_ctx_init(upload.pool))?;
            (*context).pix_fmt = ffi::AVPixelFormat::AV_PIX_FMT_VAAPI;
            (*context).hw_frames_ctx = ffi::av_buffer_ref(upload.pool);
            Ok(upload)
        }
    }

    /// The frame as the encoder takes it.
    pub(super) fn frame(&self, frame: &frame::Video) -> Result<frame::Video, ffmpeg::Error> {
        let packed = semi_planar(frame)?;
        if self.pool.is_null() {
            return Ok(packed);
        }
        let mut uploaded = frame::Video::empty();
        // SAFETY: pool and frames are valid; the device's frame gets memory of the pool.
        unsafe {
            checked(ffi::av_hwframe_get_buffer(self.pool, uploaded.as_mut_ptr(), 0))?;
            checked(ffi::av_hwframe_transfer_data(uploaded.as_mut_ptr(), packed.as_ptr(), 0))?;
            checked(ffi::av_frame_copy_props(uploaded.as_mut_ptr(), packed.as_ptr()))?;
        }
        Ok(uploaded)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // SAFETY: null or a reference of ours, given back once.
        unsafe { ffi::av_buffer_unref(&mut self.pool) };
    }
}

/// Luma in one plane, both chroma in turn in another: the form that every device has.
fn packed_format(format: Pixel) -> Pixel {
    match format {
        Pixel::YUV420P10LE | Pixel::P010LE => Pixel::P010LE,
        _ => Pixel::NV12,
    }
}

fn semi_planar(frame: &frame::Video) -> Result<frame::Video, ffmpeg::Error> {
    let target = packed_format(frame.format());
    let mut packed = frame::Video::empty();
    if frame.format() == target {
        // SAFETY: both are valid, and `packed` is empty.
        checked(unsafe { ffi::av_frame_ref(packed.as_mut_ptr(), frame.as_ptr()) })?;
        return Ok(packed);
    }
    packed = frame::Video::new(target, frame.width(), frame.height());
    // SAFETY: both are valid; only properties are copied.
    checked(unsafe { ffi::av_frame_copy_props(packed.as_mut_ptr(), frame.as_ptr()) })?;
    // P010 keeps its ten bits on top of sixteen.
    let widen = |sample: &[u8]| (u16::from_le_bytes([sample[0], sample[1]]) << 6).to_le_bytes();
    let deep = target == Pixel::P010LE;
    let bytes = if deep { 2 } else { 1 };

    let (stride, width) = (packed.stride(0), frame.width() as usize * bytes);
    for (row, out) in packed.data_mut(0).chunks_mut(stride).take(frame.height() as usize).enumerate() {
        let line = &frame.data(0)[row * frame.stride(0)..][..width];
        match deep {
            true => line.chunks_exact(2).zip(out.chunks_exact_mut(2)).for_each(|(s, o)| o.copy_from_slice(&widen(s))),
            false => out[..width].copy_from_slice(line),
        }
    }
    let (stride, width) = (packed.stride(1), frame.plane_width(1) as usize * bytes);
    for (row, out) in packed.data_mut(1).chunks_mut(stride).take(frame.plane_height(1) as usize).enumerate() {
        let blue = &frame.data(1)[row * frame.stride(1)..][..width];
        let red = &frame.data(2)[row * frame.stride(2)..][..width];
        let pairs = blue.chunks_exact(bytes).zip(red.chunks_exact(bytes));
        for ((blue, red), out) in pairs.zip(out.chunks_exact_mut(2 * bytes)) {
            match deep {
                true => {
                    out[..2].copy_from_slice(&widen(blue));
                    out[2..].copy_from_slice(&widen(red));
                }
                false => out.copy_from_slice(&[blue[0], red[0]]),
            }
        }
    }
    Ok(packed)
}

fn checked(code: i32) -> Result<(), ffmpeg::Error> {
    if code < 0 { Err(ffmpeg::Error::from(code)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pairs() {
        let mut frame = frame::Video::new(Pixel::YUV420P, 4, 2);
        for (plane, values) in [(0, &[1, 2, 3, 4][..]), (1, &[10, 11]), (2, &[20, 21])] {
            frame.data_mut(plane)[..values.len()].copy_from_slice(values);
        }
        let packed = semi_planar(&frame).unwrap();
        assert_eq!(packed.format(), Pixel::NV12);
        assert_eq!((&packed.data(0)[..4], &packed.data(1)[..4]), (&[1, 2, 3, 4][..], &[10, 20, 11, 21][..]));

        let mut frame = frame::Video::new(Pixel::YUV420P10LE, 4, 2);
        for (plane, value) in [(0, 1_u16), (1, 512), (2, 1023)] {
            frame.data_mut(plane)[..2].copy_from_slice(&value.to_le_bytes());
        }
        let packed = semi_planar(&frame).unwrap();
        assert_eq!(packed.format(), Pixel::P010LE);
        let sample = |plane: usize, place: usize| {
            u16::from_le_bytes([packed.data(plane)[2 * place], packed.data(plane)[2 * place + 1]])
        };
        assert_eq!([sample(0, 0), sample(1, 0), sample(1, 1)], [64, 512 << 6, 1023 << 6]);
        assert_eq!(semi_planar(&packed).unwrap().format(), Pixel::P010LE);
    }
}
