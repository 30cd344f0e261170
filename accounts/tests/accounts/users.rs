//! Who users are, and who may see and change them.

use bazaar_rpc::UserId;
use bazaar_rpc::accounts::{AccountsError, Caller, NewUser, Role, User, UserChange, UserField};

use crate::world::{PASSWORD, World, caller, customer, new_user};

pub(crate) use crate::world::UNLIMITED as FLAGS;

impl World {
    pub(crate) async fn get(&self, caller: Caller, user: UserId) -> Result<User, AccountsError> {
        self.call(|it, context| async move { it.get(context, caller, user).await })
            .await
    }

    pub(crate) async fn update(
        &self,
        caller: Caller,
        user: UserId,
        change: UserChange,
    ) -> Result<User, AccountsError> {
        self.call(|it, context| async move { it.update(context, caller, user, change).await })
            .await
    }

    pub(crate) async fn deactivate(
        &self,
        caller: Caller,
        user: UserId,
    ) -> Result<(), AccountsError> {
        self.call(|it, context| async move { it.deactivate(context, caller, user).await })
            .await
    }

    pub(crate) async fn reactivate(
        &self,
        caller: Caller,
        user: UserId,
    ) -> Result<User, AccountsError> {
        self.call(|it, context| async move { it.reactivate(context, caller, user).await })
            .await
    }

    async fn list(
        &self,
        caller: Caller,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<User>, AccountsError> {
        self.call(|it, context| async move { it.list(context, caller, after, limit).await })
            .await
    }
}

fn taken<T>(field: UserField) -> Result<T, AccountsError> {
    Err(AccountsError::Taken { field })
}

pub(crate) async fn each_of_a_users_names_is_unique(world: World) {
    let alice = world.register("Alice", 1).await.unwrap();
    assert_eq!(alice.role, Role::Customer);
    assert!(alice.active && alice.created_at.0 > 0);
    let attempt = async |user: NewUser| {
        world
            .call(|it, context| async move { it.register(context, user, crate::world::HERE).await })
            .await
    };
    let bob = || new_user("Bob", 2);
    let student = NewUser {
        student_id: alice.student_id.clone(),
        ..bob()
    };
    let name = NewUser {
        user_name: "aLICE".parse().unwrap(),
        ..bob()
    };
    let email = NewUser {
        email: "ALICE@Example.org".parse().unwrap(),
        ..bob()
    };
    assert_eq!(attempt(student).await, taken(UserField::StudentId));
    assert_eq!(attempt(name).await, taken(UserField::UserName));
    assert_eq!(attempt(email).await, taken(UserField::Email));
    // A refusal has changed nothing.
    let bob = attempt(bob()).await.unwrap();
    let change = UserChange {
        email: Some("Alice@example.org".parse().unwrap()),
        ..UserChange::default()
    };
    let changed = world.update(caller(&bob), bob.id, change).await;
    assert_eq!(changed, taken(UserField::Email));
    assert_eq!(world.get(caller(&bob), bob.id).await, Ok(bob));
}

pub(crate) async fn a_user_sees_and_changes_oneself_alone(world: World) {
    let alice = world.register("alice", 1).await.unwrap();
    let bob = world.register("bob", 2).await.unwrap();
    let change = UserChange {
        user_name: Some("mallory".parse().unwrap()),
        ..UserChange::default()
    };
    let unknown = || AccountsError::UnknownUser;
    for (who, whom) in [
        (caller(&bob), alice.id),
        (customer(99), alice.id),
        (customer(99), UserId(99)),
    ] {
        assert_eq!(world.get(who, whom).await, Err(unknown()));
        assert_eq!(
            world.update(who, whom, change.clone()).await,
            Err(unknown())
        );
        assert_eq!(world.deactivate(who, whom).await, Err(unknown()));
        let refused = world.reactivate(who, whom).await;
        assert_eq!(refused, Err(AccountsError::AdminRequired));
    }
    let listed = world.list(caller(&alice), None, 10).await;
    assert_eq!(listed, Err(AccountsError::AdminRequired));
    assert_eq!(world.get(caller(&alice), alice.id).await, Ok(alice));
}

pub(crate) async fn an_admin_sees_and_changes_everybody(world: World) {
    let admin = world.admin("root", 100).await;
    let alice = world.register("alice", 1).await.unwrap();
    assert_eq!(world.get(admin, alice.id).await, Ok(alice.clone()));
    let change = UserChange {
        password: Some(crate::world::password("a new password")),
        ..UserChange::default()
    };
    world.update(admin, alice.id, change.clone()).await.unwrap();
    world.login("alice", "a new password").await.unwrap();
    // One's own password takes the current one, whoever one is.
    let refused = world.update(admin, admin.user, change).await;
    assert_eq!(refused, Err(AccountsError::WrongCurrentPassword));

    world.deactivate(admin, alice.id).await.unwrap();
    world.deactivate(admin, alice.id).await.unwrap();
    assert!(!world.get(admin, alice.id).await.unwrap().active);
    assert!(world.reactivate(admin, alice.id).await.unwrap().active);
    world.login("alice", "a new password").await.unwrap();
    for unknown in [UserId(0), UserId(4711), UserId(u64::MAX)] {
        let refused = Err(AccountsError::UnknownUser);
        assert_eq!(world.get(admin, unknown).await, refused);
        assert_eq!(world.reactivate(admin, unknown).await, refused);
        assert_eq!(
            world
                .deactivate(admin, unknown)
                .await
                .map(|()| alice.clone()),
            refused
        );
    }
}

pub(crate) async fn a_list_has_pages(world: World) {
    let admin = world.admin("root", 100).await;
    for student in 1..=4 {
        world
            .register(&format!("user{student}"), student)
            .await
            .unwrap();
    }
    let all = world.list(admin, None, 1000).await.unwrap();
    let names: Vec<_> = all.iter().map(|user| user.user_name.as_str()).collect();
    assert_eq!(names, ["root", "user1", "user2", "user3", "user4"]);
    let first = world.list(admin, None, 2).await.unwrap();
    assert_eq!(first, all[..2]);
    let second = world.list(admin, Some(first[1].id), 2).await.unwrap();
    assert_eq!(second, all[2..4]);
    assert_eq!(world.list(admin, Some(all[4].id), 2).await, Ok(Vec::new()));
    for limit in [0, 1001] {
        let refused = world.list(admin, None, limit).await;
        assert!(
            matches!(refused, Err(AccountsError::Invalid(_))),
            "{refused:?}"
        );
    }
}

pub(crate) async fn a_change_touches_what_it_names_alone(world: World) {
    let alice = world.register("alice", 1).await.unwrap();
    let me = caller(&alice);
    let change = UserChange {
        user_name: Some("Alice.B".parse().unwrap()),
        ..UserChange::default()
    };
    let changed = world.update(me, alice.id, change).await.unwrap();
    assert_eq!(changed.user_name.as_str(), "Alice.B");
    assert_eq!(
        (&changed.email, &changed.student_id),
        (&alice.email, &alice.student_id)
    );
    let same = world.update(me, alice.id, UserChange::default()).await;
    assert_eq!(same, Ok(changed));
    // The old name is free, and logs nobody in.
    let refused = world.login("alice", PASSWORD).await.unwrap_err();
    assert_eq!(refused, AccountsError::WrongCredentials);
    world.login("ALICE.b", PASSWORD).await.unwrap();
    let another = NewUser {
        email: "another@example.org".parse().unwrap(),
        ..new_user("alice", 2)
    };
    world
        .call(|it, context| async move { it.register(context, another, crate::world::HERE).await })
        .await
        .unwrap();
}
