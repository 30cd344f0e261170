//! Who calls a method, and from where: as HTTP has it, by the same headers.

use std::net::IpAddr;

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

use crate::Error;
use crate::auth::{AuthError, Identity};
use crate::http::{ClientAddress, Frontend};

/// Whoever a call comes from, if it says so.
///
/// # Errors
/// When it does so with a token that is not valid, or that nobody can verify now.
pub(super) fn viewer(
    frontend: &Frontend,
    metadata: &MetadataMap,
) -> Result<Option<Identity>, Status> {
    let identity = frontend.verifier.identify(metadata.as_ref());
    Ok(identity.map_err(Error::from)?)
}

/// Whoever a call comes from.
///
/// # Errors
/// As of [`viewer`], and when it comes from nobody.
pub(super) fn caller(frontend: &Frontend, metadata: &MetadataMap) -> Result<Identity, Status> {
    let identity = viewer(frontend, metadata)?;
    Ok(identity.ok_or(Error::Unauthenticated(AuthError::Missing))?)
}

/// The address that a call with these extensions comes from.
pub(super) fn address(extensions: &Extensions) -> IpAddr {
    ClientAddress::of(extensions).0
}
