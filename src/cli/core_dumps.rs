//! Core dumps hold whatever a process holds: keys, codes, tokens. They are switched off before any of that is read.

/// Neither this process nor what it starts writes a core file, and on Linux nobody but root may read its memory or trace it.
///
/// # Errors
/// In words, where the system does not allow that.
#[cfg(unix)]
pub(super) fn switch_off() -> Result<(), String> {
    use nix::sys::resource::{Resource, setrlimit};

    let failed = |error: nix::errno::Errno| format!("core dumps cannot be switched off: {}", error.desc());
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed)?;
    // The limit does not count for systems that pipe core dumps to a program.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).map_err(failed)?;
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn switch_off() -> Result<(), String> {
    Ok(())
}
