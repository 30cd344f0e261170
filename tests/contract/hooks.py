"""What Schemathesis is to do otherwise than it would."""

import os

import schemathesis

# The user whose token the run has.
USER = int(os.environ["BAZAAR_USER"])

# A number that no user has.
NOBODY = 2**63


@schemathesis.hook
def before_call(context, case, kwargs):
    keep_the_token(case)
    write_headers(case)


def keep_the_token(case):
    """Users who deactivate themselves have no valid token any more: the run's own does not.

    Everybody else is deactivated.
    """
    if case.operation.definition.raw.get("operationId") != "deactivateUser":
        return
    number = str(case.path_parameters.get("id"))
    if case.method == "DELETE" and number.isdecimal() and int(number) == USER:
        case.path_parameters["id"] = NOBODY


def write_headers(case):
    """Headers are texts.

    Schemathesis takes X-Request-Id for the id of an item that it was shown, which is a number, and then
    fails to send it.
    """
    for name, value in (case.headers or {}).items():
        if not isinstance(value, (str, bytes)):
            case.headers[name] = str(value)


@schemathesis.hook
def map_body(context, body):
    """Bodies have whole numbers without a fraction, as every client writes them.

    To JSON Schema 1.0 is an integer too; the frontend refuses it.
    """
    if isinstance(body, dict):
        return {name: map_body(context, value) for name, value in body.items()}
    if isinstance(body, float) and body.is_integer() and abs(body) < 2**53:
        return int(body)
    return body
