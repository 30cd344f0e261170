use super::*;

fn text_of(items: &str) -> String {
    let policy = r#"{"sides": ["buy"], "min": 1, "max": 3, "account": false}"#;
    format!("{{\n\"shop\": \"s\",\n\"policy\": {policy},\n\"items\": [\n{items}\n]\n}}\n")
}

/// Parses texts as the files `a.json`, `b.json` and so on.
fn read(texts: &[&str]) -> Result<Vec<Shop>, String> {
    let mut seen = Seen::default();
    let read = |(name, text): (&&str, &&str)| seen.shop(Path::new(name), text);
    ["a.json", "b.json"]
        .iter()
        .zip(texts)
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

const GOOD: &str = r#"{"number": 1, "name": "one", "price": 1.50, "quantity": 10}"#;
const OTHER: &str = r#"{"number": 2, "name": "two", "price": 2.50, "quantity": 20}"#;

#[test]
fn the_shops_that_ship_are_as_the_original_had_them() {
    let shops = load(&[]).unwrap();
    let names: Vec<_> = shops.iter().map(|shop| shop.name.as_str()).collect();
    assert_eq!(names, ["stocks", "books", "merch"]);
    let [stocks, books, merch] = shops.as_slice() else {
        unreachable!()
    };

    assert!(stocks.items.iter().all(|item| item.quantity.units() == 100));
    assert!(stocks.items.len() >= 10);
    for name in ["GameStart", "BoarCo", "MenhirCo", "FishCo"] {
        assert!(
            stocks.items.iter().any(|item| item.name.as_str() == name),
            "{name}"
        );
    }
    assert_eq!(stocks.items[0].price.cents(), 1599);
    assert!(stocks.policy.sides.contains(&Side::Sell) && !stocks.policy.account);

    let topics: BTreeSet<_> = books
        .items
        .iter()
        .filter_map(|book| book.category.as_ref())
        .map(Text::as_str)
        .collect();
    let expected = [
        "distributed systems",
        "new arrivals",
        "undergraduate school",
    ];
    assert_eq!(topics.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(
        (books.items.len(), books.policy.max.unwrap().units()),
        (7, 1)
    );
    let restock = books.policy.restock.as_ref().unwrap();
    assert_eq!(restock.every.length().as_secs(), 60);
    assert_eq!((restock.below.units(), restock.to.units()), (1, 10));
    assert_eq!(
        (&stocks.policy.restock, &merch.policy.restock),
        (&None, &None)
    );

    let priced: Vec<_> = merch
        .items
        .iter()
        .map(|item| (item.name.as_str(), item.price.cents()))
        .collect();
    assert_eq!(
        priced,
        [("hoodie", 4999), ("water bottle", 1999), ("notebook", 999)]
    );
    assert!(merch.policy.account);
    assert_eq!(
        (merch.policy.min.units(), merch.policy.max.unwrap().units()),
        (1, 3)
    );
    assert!(
        merch
            .items
            .iter()
            .all(|item| item.description.is_some() && item.slogan.is_some())
    );
}

#[test]
fn a_wrong_file_is_refused_by_file_line_and_field() {
    let item = |from: &str, to: &str| {
        assert!(OTHER.contains(from), "{from}");
        text_of(&format!("{GOOD},\n{}", OTHER.replace(from, to)))
    };
    let whole = |from: &str, to: &str| {
        let text = text_of(GOOD);
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let restocking = |fields: &str| {
        whole(
            "\"account\": false",
            &format!("\"account\": false, \"restock\": {{{fields}}}"),
        )
    };
    for (text, line, said) in [
        ("not json".to_owned(), 1, "expected"),
        (String::new(), 1, "EOF"),
        ("[]".to_owned(), 1, "expected struct"),
        (whole("]\n}", "]\n} trailing"), 7, "trailing characters"),
        (whole("\"shop\": \"s\",\n", ""), 6, "missing field `shop`"),
        (
            whole("\"s\"", "\"\""),
            2,
            "shop: a text here has 1 to 64 characters",
        ),
        (
            whole("\"shop\"", "\"shoop\""),
            2,
            "shoop: unknown field `shoop`",
        ),
        (whole("\"policy\"", "\"shop\""), 3, "duplicate field `shop`"),
        (
            whole("\"min\": 1", "\"min\": 0"),
            3,
            "policy: `min` is zero",
        ),
        (
            whole("\"max\": 3", "\"max\": 0"),
            3,
            "policy: `max` is less than `min`",
        ),
        (whole("[\"buy\"]", "[]"), 3, "policy: `sides` is empty"),
        (
            whole("[\"buy\"]", "[\"steal\"]"),
            3,
            "policy.sides[0]: unknown variant `steal`",
        ),
        (
            restocking("\"every\": \"5\", \"below\": 1, \"to\": 2"),
            3,
            "policy.restock.every: \"5\" is not a time such as 90s",
        ),
        (
            restocking("\"every\": \"999ms\", \"below\": 1, \"to\": 2"),
            3,
            "policy.restock.every: a shop restocks every 1s to",
        ),
        (
            restocking("\"every\": \"31days\", \"below\": 1, \"to\": 2"),
            3,
            "policy.restock.every: a shop restocks every 1s to",
        ),
        (
            restocking("\"every\": \"1m\", \"below\": 0, \"to\": 2"),
            3,
            "policy.restock: `below` is zero",
        ),
        (
            restocking("\"every\": \"1m\", \"below\": 3, \"to\": 2"),
            3,
            "policy.restock: `to` is less than `below`",
        ),
        (
            restocking("\"every\": \"1m\", \"below\": 1"),
            3,
            "policy.restock: missing field `to`",
        ),
        (
            whole("\"account\": false", "\"account\": 0"),
            3,
            "policy.account: invalid type",
        ),
        (
            whole("\"items\": [\n", "\"items\": [\n7,"),
            5,
            "items[0]: invalid type",
        ),
        (
            item("2.50", "-2.50"),
            6,
            "items[1].price: an amount is a number from 0",
        ),
        (item("2.50", "2.505"), 6, "items[1].price: an amount"),
        (item("2.50", "\"2.50\""), 6, "items[1].price: invalid type"),
        (
            item("20}", "-20}"),
            6,
            "items[1].quantity: invalid value: integer `-20`",
        ),
        (
            item("20}", "1.5}"),
            6,
            "items[1].quantity: invalid type: floating point",
        ),
        (
            item("20}", "1000000000001}"),
            6,
            "items[1].quantity: a quantity is",
        ),
        (
            item(", \"quantity\": 20", ""),
            6,
            "items[1]: missing field `quantity`",
        ),
        (
            item("\"number\"", "\"price\": 1,\n \"number\""),
            7,
            "duplicate field `price`",
        ),
        (
            item("\"number\"", "\"colour\": 1,\n \"number\""),
            6,
            "unknown field `colour`",
        ),
        (
            item("two\"", "one/two\""),
            6,
            "items[1].name: an item's name has no slash",
        ),
        (
            item("\"number\": 2", "\n\n\"number\": 1"),
            8,
            "items[1].number: 1 repeats that of a.json:5",
        ),
        (
            item("\"price\"", "\"category\": 3, \"price\""),
            6,
            "items[1].category: invalid type",
        ),
    ] {
        let error = read(&[&text]).unwrap_err();
        let begins = format!("shop file a.json, line {line}: ");
        assert!(
            error.starts_with(&begins) && error.contains(said),
            "{said}:\n{error}\n{text}"
        );
        assert!(!error.contains("column"), "{error}");
    }
}

#[test]
fn numbers_names_and_shops_are_unique_over_all_files() {
    let first = text_of(GOOD);
    let error = read(&[&first, &first]).unwrap_err();
    assert_eq!(
        error,
        "shop file b.json, line 2: shop: \"s\" repeats that of a.json:2"
    );
    let second = first.replace("\"s\"", "\"t\"");
    let error = read(&[&first, &second]).unwrap_err();
    assert_eq!(
        error,
        "shop file b.json, line 5: items[0].number: 1 repeats that of a.json:5"
    );
    let second = second.replace("\"number\": 1", "\"number\": 2");
    let error = read(&[&first, &second]).unwrap_err();
    assert_eq!(
        error,
        "shop file b.json, line 5: items[0].name: \"one\" repeats that of a.json:5"
    );
    assert_eq!(
        read(&[&first, &second.replace("one", "two")])
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.json");
    let error = load(std::slice::from_ref(&path)).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("shop file {}: ", path.display())),
        "{error}"
    );
    fs::write(&path, b"{\n\"shop\": \"\xff\"}").unwrap();
    let error = load(std::slice::from_ref(&path)).unwrap_err().to_string();
    assert!(error.ends_with("line 2: not UTF-8"), "{error}");
}
