//! Disks that fail, lie or lose what was not synced, files that are damaged, and clocks that jump.
