//! Networks that are cut, slow or lossy.
