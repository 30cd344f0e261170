use bazaar_rpc::accounts::UserField;
use bazaar_rpc::{OrderNumber, Quantity, ServiceKind};

use super::super::CONTRACT;
use super::*;

#[test]
fn an_error_says_its_reason_and_when_to_try_again() {
    let available = Quantity::new(3).unwrap();
    let status = Status::from(Error::Refused(Refusal::NotEnoughStock { available }));
    assert_eq!(status.code(), Code::FailedPrecondition);
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(
        (&*info.reason, &*info.domain),
        ("NOT_ENOUGH_STOCK", "bazaar")
    );
    assert_eq!(info.metadata["available"], "3");
    assert!(details.retry_info().is_none());

    for (error, reason) in [
        (Error::Busy, "OVERLOADED"),
        (Error::NoLeader(ServiceKind::Order), "NO_LEADER"),
    ] {
        let details = Status::from(error).get_error_details();
        assert_eq!(details.error_info().unwrap().reason, reason);
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(SOON));
    }
    let status = Status::from(Error::BodyTooLarge { max: 7 });
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_error_details().retry_info().is_none());
}

#[test]
fn whoever_tries_too_often_is_told_how_long_to_wait() {
    let attempts = AccountsError::TooManyAttempts {
        limit: 10,
        window: Duration::from_secs(60),
        retry_after: Duration::from_millis(5_250),
    };
    for (error, wait) in [
        (Error::Accounts(attempts), Duration::from_millis(5_250)),
        (
            Error::TooManyRequests { retry_after: 7 },
            Duration::from_secs(7),
        ),
    ] {
        let status = Status::from(error);
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(wait));
    }
}

#[test]
fn what_is_taken_is_named() {
    let field = UserField::UserName;
    let status = Status::from(Error::Accounts(AccountsError::Taken { field }));
    assert_eq!(status.code(), Code::AlreadyExists);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["field"], "user_name");
}

/// Every reason that a status of this interface can give, of errors that a method can have.
#[test]
fn the_contract_lists_every_reason_with_its_code() {
    let quantity = Quantity::MAX;
    let accounts = [
        AccountsError::Taken {
            field: UserField::Email,
        },
        AccountsError::UnknownUser,
        AccountsError::WrongCredentials,
        AccountsError::InvalidRefreshToken,
        AccountsError::WrongCurrentPassword,
        AccountsError::AdminRequired,
        AccountsError::TooManyAttempts {
            limit: 1,
            window: SOON,
            retry_after: SOON,
        },
        AccountsError::Busy,
        AccountsError::Unavailable,
        AccountsError::Unknown,
        AccountsError::Failed,
    ];
    let refusals = [
        Refusal::UnknownItem,
        Refusal::NotEnoughStock {
            available: quantity,
        },
        Refusal::SideNotAllowed {
            side: bazaar_rpc::Side::Buy,
        },
        Refusal::QuantityNotAllowed {
            min: quantity,
            max: quantity,
        },
        Refusal::AccountRequired,
        Refusal::StockFull,
    ];
    let others = [
        Error::Malformed(String::new()),
        Error::BodyTooLarge { max: 1 },
        Error::BodyTooSlow { limit: SOON },
        Error::UnknownPath(String::new()),
        Error::UnknownOrder(OrderNumber(0)),
        Error::Unchangeable(bazaar_rpc::orders::Unchangeable::Cancelled),
        Error::Unauthenticated(AuthError::Missing),
        Error::Unauthenticated(AuthError::Expired),
        Error::Unauthenticated(AuthError::Stale),
        Error::Unreachable(ServiceKind::Accounts),
        Error::TooManyRequests { retry_after: 1 },
        Error::KeyReused,
        Error::Busy,
        Error::NoLeader(ServiceKind::Order),
        Error::NoAnswer(ServiceKind::Order),
        Error::OutcomeUnknown,
        Error::Inconsistent(String::new()),
        Error::Contract {
            service: ServiceKind::Order,
            reason: String::new(),
        },
    ];
    let errors = accounts.map(Error::Accounts).into_iter();
    let errors = errors.chain(refusals.map(Error::Refused)).chain(others);
    let statuses = errors.map(Status::from).chain([
        unknown_service("x"),
        with_reason(&Status::unimplemented("gzip"), "x"),
        with_reason(&Status::internal("torn"), "x"),
    ]);
    let listed = reasons_of_the_contract();
    for status in statuses {
        let details = status.get_error_details();
        let reason = details.error_info().unwrap().reason.clone();
        let line = listed.get(&reason).unwrap_or_else(|| panic!("{reason}"));
        assert_eq!(line.code, format!("{:?}", status.code()).to_uppercase());
        let info = details.retry_info();
        assert_eq!(line.has_retry_info, info.is_some(), "{reason}");
    }
}

/// A line of the table in `proto/bazaar.proto`.
struct Line {
    /// Without underscores.
    code: String,
    has_retry_info: bool,
}

fn reasons_of_the_contract() -> HashMap<String, Line> {
    let (_, table) = CONTRACT.split_once("after how long.\n").unwrap();
    let (table, _) = table.split_once("// ## Tokens").unwrap();
    let mut lines = HashMap::new();
    let mut code = String::new();
    for line in table.lines().filter(|line| line.len() > 48) {
        let (first, rest) = line[5..].split_at(21);
        if !first.trim().is_empty() {
            code = first.trim().replace('_', "");
        }
        let (reasons, says) = rest.split_at(24);
        for reason in reasons.split(',') {
            let line = Line {
                code: code.clone(),
                has_retry_info: says.contains("RetryInfo"),
            };
            lines.insert(reason.trim().to_owned(), line);
        }
    }
    lines
}

#[test]
fn only_an_unknown_outcome_of_a_change_has_the_code_of_one() {
    let unknown = Status::from(Error::OutcomeUnknown);
    assert_eq!(unknown.code(), Code::DeadlineExceeded);
    for known in [
        Error::Busy,
        Error::NoLeader(ServiceKind::Order),
        Error::KeyReused,
        Error::BodyTooSlow { limit: SOON },
        Error::Inconsistent(String::new()),
        Error::Refused(Refusal::StockFull),
    ] {
        let status = Status::from(known);
        let unknown_too = [Code::DeadlineExceeded, Code::Unknown, Code::Cancelled];
        assert!(!unknown_too.contains(&status.code()), "{status:?}");
    }
}
