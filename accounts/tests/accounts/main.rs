//! The accounts service over real sockets and real databases: SQLite always, PostgreSQL where its
//! programs are installed.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it is not as expected"
)]

mod admins;
mod limits;
mod outage;
mod postgres;
mod sessions;
mod tokens;
mod users;
mod world;

use crate::postgres::Postgres;
use crate::world::World;

/// Has each scenario run on SQLite, as a test of its own, and all of them on PostgreSQL, one after
/// the other on one server.
macro_rules! scenarios {
    ($($module:ident::$name:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$module::$name(super::World::sqlite(super::$module::FLAGS).await).await;
                }
            )*
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn the_same_holds_on_postgresql() {
            let Some(server) = Postgres::start().await else {
                return;
            };
            $(
                eprintln!("on PostgreSQL: {}", stringify!($name));
                let url = server.create_database(stringify!($name)).await;
                $module::$name(World::postgres(&url, $module::FLAGS).await).await;
            )*
        }
    };
}

scenarios! {
    users::each_of_a_users_names_is_unique,
    users::a_user_sees_and_changes_oneself_alone,
    users::an_admin_sees_and_changes_everybody,
    users::a_list_has_pages,
    users::a_change_touches_what_it_names_alone,
    sessions::a_login_tells_nothing_about_who_exists,
    sessions::a_refresh_token_is_spent_once,
    sessions::of_two_who_spend_a_token_at_once_one_gets_another,
    sessions::a_logout_ends_its_own_session_alone,
    sessions::a_new_password_ends_every_session,
    sessions::sessions_are_bounded,
    tokens::an_access_token_says_who_and_is_signed,
    tokens::a_deactivation_is_told_at_once_and_outlives_a_restart,
    tokens::a_new_key_is_published_before_it_signs,
    limits::logins_are_limited_by_user,
    limits::logins_are_limited_by_address,
    limits::many_logins_at_once_hold_up_nothing_else,
    admins::the_first_admin_is_made_beside_a_running_service,
}
