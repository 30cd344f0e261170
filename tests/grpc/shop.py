"""A customer in another language: the client is generated from bazaar.proto.

Usage: shop.py HOST:PORT, with bazaar_pb2 and bazaar_pb2_grpc on the PYTHONPATH. Prints the number
of the order that it has placed; ends with an error where anything is not as the contract says.
"""

import sys

import bazaar_pb2 as messages
import bazaar_pb2_grpc as services
import grpc

# Seconds for each call.
DEADLINE = 20


def expect(what, actual, expected):
    if actual != expected:
        sys.exit(f"{what}: {actual!r} is not {expected!r}")


def refused(method, request, code):
    """Calls `method`, which must be refused with `code` and say why."""
    try:
        answer = method(request, timeout=DEADLINE)
    except grpc.RpcError as error:
        expect("the code of a refusal", error.code(), code)
        details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
        expect("an ErrorInfo", b"google.rpc.ErrorInfo" in details, True)
    else:
        sys.exit(f"{request!r} was answered with {answer!r}, and not with {code}")


def all_products(products, shop):
    """Every product of a shop, three to a page."""
    request = messages.ListProductsRequest(shop=shop, page_size=3)
    while True:
        page = products.List(request, timeout=DEADLINE)
        yield from page.products
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def main(address):
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=DEADLINE)
        products = services.ProductsStub(channel)
        orders = services.OrdersStub(channel)

        shelf = list(all_products(products, "stocks"))
        expect("one of each", len(shelf), len({product.number for product in shelf}))
        (stock,) = [product for product in shelf if product.name == "GameStart"]
        books = products.Search(
            messages.SearchProductsRequest(topic="distributed systems"), timeout=DEADLINE
        )
        expect("the book store's topic", {book.shop for book in books.products}, {"books"})

        purchase = messages.PlaceOrderRequest(
            product_name="GameStart",
            side=messages.SIDE_BUY,
            quantity=30,
            idempotency_key="from-python",
        )
        placed = orders.Place(purchase, timeout=DEADLINE)
        expect("a first request", placed.replayed, False)
        order = placed.order
        expect("the total", order.total.cents, 30 * stock.price.cents)
        expect("the status", order.status, messages.ORDER_STATUS_PLACED)

        again = orders.Place(purchase, timeout=DEADLINE)
        expect("a repeated request", (again.replayed, again.order), (True, order))
        read = orders.Get(messages.GetOrderRequest(number=order.number), timeout=DEADLINE)
        expect("the order, read back", read, order)
        numbers = messages.BatchGetOrdersRequest(numbers=[order.number] * 2)
        batch = orders.BatchGet(numbers, timeout=DEADLINE)
        expect("a batch", list(batch.orders), [order, order])

        after = products.Get(messages.GetProductRequest(number=stock.number), timeout=DEADLINE)
        expect("the stock after it", after.quantity, stock.quantity - 30)
        expect("the version after it", after.version, order.product_version)

        too_many = messages.PlaceOrderRequest(
            product_name="GameStart", side=messages.SIDE_BUY, quantity=after.quantity + 1
        )
        refused(orders.Place, too_many, grpc.StatusCode.FAILED_PRECONDITION)
        nothing = messages.GetProductRequest(name="Nothing")
        refused(products.Get, nothing, grpc.StatusCode.NOT_FOUND)
        cancel = messages.CancelOrderRequest(number=order.number)
        refused(orders.Cancel, cancel, grpc.StatusCode.UNAUTHENTICATED)
        print(order.number)


if __name__ == "__main__":
    main(sys.argv[1])
