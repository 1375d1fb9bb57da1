//! Clocks: clock_gettime(2) and what else tells the time.
//!
//! The wall clock is shifted or stands still, the others run on: a shifted wall clock is what
//! settimeofday(2) makes, and no process sleeps longer for it. Sleeps until a time of the wall clock
//! are until the same time of the kernel's.

use super::kernel::{self, EINVAL, Errno};
use super::libc::{self, TimeSpec};
use super::number;
use super::settings::{Settings, WallClock};
use super::state::settings;

/// time.h, linux/time.h.
pub const REALTIME: i32 = 0;
const MONOTONIC: i32 = 1;
const MONOTONIC_RAW: i32 = 4;
const REALTIME_COARSE: i32 = 5;
const MONOTONIC_COARSE: i32 = 6;
const BOOTTIME: i32 = 7;
const REALTIME_ALARM: i32 = 8;
const BOOTTIME_ALARM: i32 = 9;
const TAI: i32 = 11;

const TIMER_ABSTIME: i32 = 1;

/// True if a clock shows the time of the day.
pub fn is_wall_clock(clock: i32) -> bool {
    matches!(clock, REALTIME | REALTIME_COARSE | REALTIME_ALARM | TAI)
}

/// True if a clock advances with time: not with the time on a processor.
fn is_clock_of_time(clock: i32) -> bool {
    let others =
        [MONOTONIC, MONOTONIC_RAW, MONOTONIC_COARSE, BOOTTIME, BOOTTIME_ALARM].contains(&clock);
    others || is_wall_clock(clock)
}

/// What the kernel's clock shows.
fn of_kernel(clock: i32) -> Result<TimeSpec, Errno> {
    let mut time = TimeSpec::default();
    let address = (&raw mut time) as usize;
    // SAFETY: the address is that of a timespec.
    unsafe { kernel::call(number::CLOCK_GETTIME, [clock as usize, address, 0, 0, 0, 0]) }?;
    Ok(time)
}

/// What a clock shows to this process.
pub fn read(clock: i32) -> Result<TimeSpec, Errno> {
    let settings = settings();
    let time = of_kernel(clock)?;
    let shown = match settings.wall_clock {
        WallClock::Later(offset) if is_wall_clock(clock) => {
            TimeSpec::of(time.total().saturating_add(offset))
        }
        WallClock::Frozen(at) if is_wall_clock(clock) => TimeSpec::of(at),
        WallClock::Same | WallClock::Later(_) | WallClock::Frozen(_) => time,
    };
    Ok(coarse(&settings, clock, shown))
}

/// A time in steps of the resolution.
fn coarse(settings: &Settings, clock: i32, time: TimeSpec) -> TimeSpec {
    match settings.resolution as i64 {
        0 => time,
        _ if !is_clock_of_time(clock) => time,
        step => TimeSpec::of(time.total() - time.total().rem_euclid(step)),
    }
}

/// The time of the kernel's wall clock at which a sleep ends that is to last until `deadline`.
/// A clock that stands still reaches no time: the sleep lasts for the difference.
pub fn deadline_of_kernel(deadline: TimeSpec) -> TimeSpec {
    if !deadline.is_valid() {
        return deadline;
    }
    let total = match settings().wall_clock {
        WallClock::Same => return deadline,
        WallClock::Later(offset) => deadline.total().saturating_sub(offset),
        WallClock::Frozen(at) => {
            let now = of_kernel(REALTIME).unwrap_or_default().total();
            deadline.total().saturating_sub(at).saturating_add(now)
        }
    };
    // The kernel takes no time before the Epoch, which is over.
    TimeSpec::of(total.max(0))
}

/// clock_gettime(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: i32, time: *mut TimeSpec) -> i32 {
    match read(clock) {
        Err(errno) => libc::fail(errno) as i32,
        Ok(_) if time.is_null() => libc::fail(libc::EFAULT) as i32,
        Ok(shown) => {
            // SAFETY: the caller's pointer.
            unsafe { *time = shown };
            0
        }
    }
}

/// clock_getres(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_getres(clock: i32, resolution: *mut TimeSpec) -> i32 {
    let address = resolution as usize;
    // SAFETY: the caller's pointer, which may be null.
    let done = unsafe { kernel::call(number::CLOCK_GETRES, [clock as usize, address, 0, 0, 0, 0]) };
    let step = settings().resolution;
    if done.is_ok() && step != 0 && is_clock_of_time(clock) && !resolution.is_null() {
        // SAFETY: as above.
        unsafe { *resolution = TimeSpec::of(step as i64) };
    }
    libc::result(done) as i32
}

/// `struct timeval` of sys/time.h.
#[repr(C)]
pub struct TimeVal {
    seconds: i64,
    microseconds: i64,
}

/// gettimeofday(2). The zone is UTC, as in glibc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut TimeVal, zone: *mut [i32; 2]) -> i32 {
    // SAFETY: the caller's pointers, which may be null.
    unsafe {
        if let Some(zone) = zone.as_mut() {
            *zone = [0; 2];
        }
        match (read(REALTIME), time.as_mut()) {
            (Err(errno), _) => libc::fail(errno) as i32,
            (Ok(_), None) => 0,
            (Ok(now), Some(time)) => {
                let microseconds = now.nanoseconds / 1000;
                *time = TimeVal { seconds: now.seconds, microseconds };
                0
            }
        }
    }
}

/// time(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut i64) -> i64 {
    // As glibc's, which is a tick behind.
    let now = read(REALTIME_COARSE).unwrap_or_default().seconds;
    // SAFETY: the caller's pointer, which may be null.
    if let Some(time) = unsafe { time.as_mut() } {
        *time = now;
    }
    now
}

/// The clock of a time base of timespec_get(3).
fn clock_of_base(base: i32) -> Option<i32> {
    const TIME_UTC: i32 = 1;
    const TIME_MONOTONIC: i32 = 2;
    match base {
        TIME_UTC => Some(REALTIME),
        TIME_MONOTONIC => Some(MONOTONIC),
        _ => None,
    }
}

/// timespec_get(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timespec_get(time: *mut TimeSpec, base: i32) -> i32 {
    let Some(clock) = clock_of_base(base) else { return 0 };
    // SAFETY: the caller's pointer.
    if unsafe { clock_gettime(clock, time) } == 0 { base } else { 0 }
}

/// timespec_getres(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timespec_getres(resolution: *mut TimeSpec, base: i32) -> i32 {
    let Some(clock) = clock_of_base(base) else { return 0 };
    // SAFETY: the caller's pointer, which may be null.
    if unsafe { clock_getres(clock, resolution) } == 0 { base } else { 0 }
}

/// clock_nanosleep(2), which returns its error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_nanosleep(
    clock: i32,
    flags: i32,
    request: *const TimeSpec,
    left: *mut TimeSpec,
) -> i32 {
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    if clock == CLOCK_THREAD_CPUTIME_ID {
        return EINVAL.0;
    }
    // SAFETY: the caller's pointer.
    let mut until = match unsafe { request.as_ref() } {
        Some(request) => *request,
        None => return libc::EFAULT.0,
    };
    if flags & TIMER_ABSTIME != 0 && is_wall_clock(clock) {
        until = deadline_of_kernel(until);
    }
    let (request, left) = ((&raw const until) as usize, left as usize);
    let arguments = [clock as usize, flags as usize, request, left, 0, 0];
    // SAFETY: the request is one, and what is left is the caller's pointer, which may be null.
    match unsafe { kernel::call(number::CLOCK_NANOSLEEP, arguments) } {
        Ok(_) => 0,
        Err(errno) => errno.0,
    }
}
