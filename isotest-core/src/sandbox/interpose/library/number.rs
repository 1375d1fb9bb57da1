//! Numbers of the system calls of the library (syscall(2)), beside those of `kernel::number`.

#[cfg(target_arch = "x86_64")]
mod table {
    pub const PIPE: usize = 22;
    pub const MREMAP: usize = 25;
    pub const GETPID: usize = 39;
    pub const GETTIMEOFDAY: usize = 96;
    pub const GETTID: usize = 186;
    pub const TIME: usize = 201;
    pub const GETDENTS64: usize = 217;
    pub const CLOCK_GETTIME: usize = 228;
    pub const CLOCK_GETRES: usize = 229;
    pub const CLOCK_NANOSLEEP: usize = 230;
    pub const PIPE2: usize = 293;
    pub const GETRANDOM: usize = 318;
}

#[cfg(target_arch = "aarch64")]
mod table {
    /// There is no such call on this architecture.
    pub const PIPE: usize = usize::MAX;
    pub const MREMAP: usize = 216;
    pub const GETPID: usize = 172;
    pub const GETTIMEOFDAY: usize = 169;
    pub const GETTID: usize = 178;
    /// There is no such call on this architecture.
    pub const TIME: usize = usize::MAX - 1;
    pub const GETDENTS64: usize = 61;
    pub const CLOCK_GETTIME: usize = 113;
    pub const CLOCK_GETRES: usize = 114;
    pub const CLOCK_NANOSLEEP: usize = 115;
    pub const PIPE2: usize = 59;
    pub const GETRANDOM: usize = 278;
}

pub use table::*;
