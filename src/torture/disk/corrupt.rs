//! Damage to a stopped process's files.
