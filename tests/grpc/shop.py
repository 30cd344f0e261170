"""Customers in another language: the client is generated from bazaar.proto.

Usage: shop.py HOST:PORT, with bazaar_pb2 and bazaar_pb2_grpc on the PYTHONPATH. Prints the numbers
of the orders that were placed, the one of the stock bazaar first and the one of the merch store,
which was cancelled, second; ends with an error where anything is not as the contract says.
"""

import sys
import time

import bazaar_pb2 as messages
import bazaar_pb2_grpc as services
import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

# Seconds for each call.
DEADLINE = 20

PASSWORD = "open sesame"


def expect(what, actual, expected):
    if actual != expected:
        sys.exit(f"{what}: {actual!r} is not {expected!r}")


def details(error):
    """The ErrorInfo of a status, and the seconds after which to try again, if it says so."""
    info, retry = None, None
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo()
            detail.Unpack(delay)
            retry = delay.retry_delay.ToTimedelta().total_seconds()
    return info, retry


def refused(method, request, code, reason, token=None):
    """Calls `method`, which must be refused with `code` for `reason`; returns what belongs to that."""
    try:
        answer = call(method, request, token)
    except grpc.RpcError as error:
        info, _ = details(error)
        expect("an ErrorInfo", info is not None, True)
        expect("a refusal", (error.code(), info.domain, info.reason), (code, "bazaar", reason))
        return dict(info.metadata)
    sys.exit(f"{request!r} was answered with {answer!r}, and not with {reason}")


def call(method, request, token=None):
    """Calls `method`; again, as it is told to, while nobody says which tokens are valid."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return method(request, timeout=DEADLINE, metadata=metadata)
        except grpc.RpcError as error:
            info, retry = details(error)
            is_lasting = info is None or info.reason != "TOKENS_UNVERIFIABLE"
            if is_lasting or retry is None or time.monotonic() > deadline:
                raise
            time.sleep(retry)


def all_products(products, shop):
    """Every product of a shop, three to a page."""
    request = messages.ListProductsRequest(shop=shop, page_size=3)
    while True:
        page = call(products.List, request)
        yield from page.products
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def trade_stocks(products, orders):
    """Buys without an account; returns the order's number."""
    shelf = list(all_products(products, "stocks"))
    expect("one of each", len(shelf), len({product.number for product in shelf}))
    (stock,) = [product for product in shelf if product.name == "GameStart"]
    books = call(products.Search, messages.SearchProductsRequest(topic="distributed systems"))
    expect("the book store's topic", {book.shop for book in books.products}, {"books"})

    purchase = messages.PlaceOrderRequest(
        product_name="GameStart",
        side=messages.SIDE_BUY,
        quantity=30,
        idempotency_key="from-python",
    )
    placed = call(orders.Place, purchase)
    expect("a first request", placed.replayed, False)
    order = placed.order
    expect("the total", order.total.cents, 30 * stock.price.cents)
    expect("the status", order.status, messages.ORDER_STATUS_PLACED)

    again = call(orders.Place, purchase)
    expect("a repeated request", (again.replayed, again.order), (True, order))
    read = call(orders.Get, messages.GetOrderRequest(number=order.number))
    expect("the order, read back", read, order)
    numbers = messages.BatchGetOrdersRequest(numbers=[order.number] * 2)
    batch = call(orders.BatchGet, numbers)
    expect("a batch", list(batch.orders), [order, order])

    after = call(products.Get, messages.GetProductRequest(number=stock.number))
    expect("the stock after it", after.quantity, stock.quantity - 30)
    expect("the version after it", after.version, order.product_version)

    too_many = messages.PlaceOrderRequest(
        product_name="GameStart", side=messages.SIDE_BUY, quantity=after.quantity + 1
    )
    code = grpc.StatusCode.FAILED_PRECONDITION
    metadata = refused(orders.Place, too_many, code, "NOT_ENOUGH_STOCK")
    expect("the stock in the refusal", metadata, {"available": str(after.quantity)})
    nothing = messages.GetProductRequest(name="Nothing")
    refused(products.Get, nothing, grpc.StatusCode.NOT_FOUND, "UNKNOWN_ITEM")
    return order.number


def login(name, password=PASSWORD):
    return messages.LoginRequest(user_name=name, password=password)


def open_account(users, name, student_id):
    """Registers and logs in; returns the user and the tokens."""
    registration = messages.RegisterRequest(
        student_id=student_id,
        user_name=name,
        email=f"{name}@example.org",
        password=PASSWORD,
    )
    user = call(users.Register, registration)
    expect("a new user", (user.role, user.active), (messages.ROLE_CUSTOMER, True))
    taken = refused(users.Register, registration, grpc.StatusCode.ALREADY_EXISTS, "TAKEN")
    expect("what is taken", taken["field"] in ("student_id", "user_name", "email"), True)
    tokens = call(users.Login, login(name))
    expect("whose tokens they are", tokens.user, user.number)
    expires, now = tokens.access_expires_at.ToSeconds(), time.time()
    expect("tokens for a while", now < expires < tokens.refresh_expires_at.ToSeconds(), True)
    return user, tokens


def order_merchandise(products, orders, alice, bob):
    """Alice orders, changes her mind twice, and bob sees nothing of it; returns the order's number."""

    def stock():
        return call(products.Get, messages.GetProductRequest(name="hoodie")).quantity

    def of(quantity, key=""):
        return messages.PlaceOrderRequest(
            product_name="hoodie",
            side=messages.SIDE_BUY,
            quantity=quantity,
            idempotency_key=key,
        )

    before = stock()
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    refused(orders.Place, of(1), unauthenticated, "ACCOUNT_REQUIRED")
    refused(orders.Place, of(1), unauthenticated, "INVALID_TOKEN", token="x")
    precondition = grpc.StatusCode.FAILED_PRECONDITION
    for quantity in (0, 4):
        bounds = refused(orders.Place, of(quantity), precondition, "QUANTITY_NOT_ALLOWED", alice)
        expect("the shop's bounds", bounds, {"min": "1", "max": "3"})
    placed = call(orders.Place, of(1, "one"), alice)
    order = placed.order
    expect("a first order", (placed.replayed, order.quantity, order.user > 0), (False, 1, True))
    again = call(orders.Place, of(1, "one"), alice)
    expect("a repeated order", (again.replayed, again.order), (True, order))
    # Each user's keys are their own.
    others = call(orders.Place, of(1, "one"), bob)
    expect("another one's order", others.replayed, False)
    mine = messages.GetOrderRequest(number=order.number)
    expect("the order, read back", call(orders.Get, mine, alice), order)

    def update(quantity, key):
        return messages.UpdateOrderQuantityRequest(
            number=order.number, quantity=quantity, idempotency_key=key
        )

    for quantity in (0, 4):
        method, request = orders.UpdateQuantity, update(quantity, "too-many")
        bounds = refused(method, request, precondition, "QUANTITY_NOT_ALLOWED", alice)
        expect("the shop's bounds", bounds, {"min": "1", "max": "3"})
    updated = call(orders.UpdateQuantity, update(3, "two"), alice)
    expect("three of them", (updated.replayed, updated.order.quantity), (False, 3))
    expect("their status", updated.order.status, messages.ORDER_STATUS_UPDATED)
    expect("their total", updated.order.total.cents, 3 * order.unit_price.cents)
    again = call(orders.UpdateQuantity, update(3, "two"), alice)
    expect("a repeated update", (again.replayed, again.order), (True, updated.order))
    expect("the stock, less both orders", stock(), before - 4)

    listed = call(orders.ListMine, messages.ListMyOrdersRequest(page_size=1), alice)
    expect("one's own orders", list(listed.orders), [updated.order])
    after = messages.ListMyOrdersRequest(page_size=1, page_token=listed.next_page_token)
    expect("no more orders", list(call(orders.ListMine, after, alice).orders), [])
    number = messages.CancelOrderRequest(number=order.number)
    for token in (bob, None):
        refused(orders.Get, mine, grpc.StatusCode.NOT_FOUND, "UNKNOWN_ORDER", token)
    refused(orders.Cancel, number, grpc.StatusCode.NOT_FOUND, "UNKNOWN_ORDER", bob)
    refused(orders.Cancel, number, unauthenticated, "ACCOUNT_REQUIRED")

    for key in ("three", "four", "three"):
        cancel = messages.CancelOrderRequest(number=order.number, idempotency_key=key)
        cancelled = call(orders.Cancel, cancel, alice).order
        expect("cancelled", cancelled.status, messages.ORDER_STATUS_CANCELLED)
        expect("what it was", [change.to_quantity for change in cancelled.history], [3, 0])
        expect("returned once", stock(), before - 1)
    refused(orders.UpdateQuantity, update(1, ""), precondition, "ORDER_UNCHANGEABLE", alice)
    call(orders.Cancel, messages.CancelOrderRequest(number=others.order.number), bob)
    expect("all of it returned", stock(), before)
    return order.number


def keep_accounts(users, alice, session, bob):
    """Alice's account, as she and bob find it, until it is closed."""
    token = session.access_token
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    told = set()
    for name, password in (("alice", "wrong password"), ("nobody", PASSWORD)):
        request = login(name, password)
        refused(users.Login, request, unauthenticated, "WRONG_CREDENTIALS")
        try:
            call(users.Login, request)
        except grpc.RpcError as error:
            told.add(error.details())
    expect("one answer to either", len(told), 1)

    get = messages.GetUserRequest(number=alice.number)
    expect("oneself", call(users.Get, get, token), alice)
    refused(users.Get, get, grpc.StatusCode.NOT_FOUND, "UNKNOWN_USER", bob)
    refused(users.Get, get, unauthenticated, "ACCOUNT_REQUIRED")
    change = messages.UpdateUserRequest(number=alice.number, password="a new password")
    denied = grpc.StatusCode.PERMISSION_DENIED
    refused(users.Update, change, denied, "WRONG_PASSWORD", token)
    rename = messages.UpdateUserRequest(number=alice.number, user_name="alicia")
    alice.user_name = "alicia"
    expect("renamed, and nothing else", call(users.Update, rename, token), alice)

    refresh = messages.RefreshRequest(refresh_token=session.refresh_token)
    session = call(users.Refresh, refresh)
    token = session.access_token
    logout = messages.LogoutRequest(refresh_token=session.refresh_token)
    call(users.Logout, logout)
    spent = messages.RefreshRequest(refresh_token=session.refresh_token)
    refused(users.Refresh, spent, unauthenticated, "INVALID_REFRESH_TOKEN")

    change.current_password = PASSWORD
    expect("a new password", call(users.Update, change, token), alice)
    refused(users.Login, login("alicia"), unauthenticated, "WRONG_CREDENTIALS")
    session = call(users.Login, login("alicia", "a new password"))
    closing = messages.DeactivateUserRequest(number=alice.number)
    closed = call(users.Deactivate, closing, session.access_token)
    alice.active = False
    expect("closed", closed, alice)
    last = login("alicia", "a new password")
    refused(users.Login, last, unauthenticated, "WRONG_CREDENTIALS")


def try_too_often(users):
    """Guesses a password until it is told when to come back."""
    for _ in range(40):
        try:
            call(users.Login, login("mallory"))
        except grpc.RpcError as error:
            info, retry = details(error)
            if info.reason == "TOO_MANY_ATTEMPTS":
                expect("the code", error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                expect("how long to wait", 0 < retry <= 60, True)
                return
            expect("why", info.reason, "WRONG_CREDENTIALS")
    sys.exit("nobody minds guesses")


def main(address):
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=DEADLINE)
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "bazaar.v1.Orders", "bazaar.v1.Users"):
            answer = call(health.Check, health_pb2.HealthCheckRequest(service=name))
            expect("health", answer.status, health_pb2.HealthCheckResponse.SERVING)
        products = services.ProductsStub(channel)
        orders = services.OrdersStub(channel)
        users = services.UsersStub(channel)
        bought = trade_stocks(products, orders)
        alice, session = open_account(users, "alice", "1")
        _, bob = open_account(users, "bob", "2")
        tokens = (session.access_token, bob.access_token)
        cancelled = order_merchandise(products, orders, *tokens)
        keep_accounts(users, alice, session, bob.access_token)
        try_too_often(users)
        print(bought, cancelled)


if __name__ == "__main__":
    main(sys.argv[1])
