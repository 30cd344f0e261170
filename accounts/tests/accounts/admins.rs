//! The command that makes an admin.

use bazaar_rpc::accounts::Role;

use crate::world::{PASSWORD, World};

pub(crate) use crate::world::UNLIMITED as FLAGS;

pub(crate) async fn the_first_admin_is_made_beside_a_running_service(world: World) {
    let admin = world.admin("root", 100).await;
    assert_eq!(admin.role, Role::Admin);
    let session = world.login("root", PASSWORD).await.unwrap();
    assert_eq!(session.user, admin.user);
    // The same again is refused, and says why.
    let command = world.create_admin("root", 101);
    let again = tokio::task::spawn_blocking(move || command.execute());
    let refused = again.await.unwrap().unwrap_err();
    assert!(format!("{refused:#}").contains("taken"), "{refused:#}");
    // So is a password that is too short, wherever it comes from.
    let command = world.create_admin("toor", 102);
    std::fs::write(command.password_file.as_ref().unwrap(), "short\n").unwrap();
    let weak = tokio::task::spawn_blocking(move || command.execute());
    let refused = weak.await.unwrap().unwrap_err();
    assert!(format!("{refused:#}").contains("8 to 128"), "{refused:#}");
}
