"""Makes the users of a contract run, and an order; prints the users' tokens and numbers for a shell.

Arguments: the frontend's URL, the program, and the cluster's data directory.
"""

import json
import subprocess
import sys
import urllib.request

# The first is the user of the contract's examples, by name and number, and asks in one of the runs. An
# administrator asks in the other one, and changes and deactivates all of them.
CUSTOMERS = ["alice", "bob", "carol", "dave"]
PASSWORD = "open sesame"


def post(path, body, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def register(name, student_id):
    email = f"{name}@example.org"
    user = {"student_id": student_id, "user_name": name, "email": email, "password": PASSWORD}
    post("/users/register", user)


def create_admin(name, student_id):
    flags = {
        "--user-name": name,
        "--email": f"{name}@example.org",
        "--student-id": student_id,
        "--password-file": "-",
        "--data-dir": data_dir,
    }
    command = [program, "accounts", "create-admin", *sum(flags.items(), ())]
    subprocess.run(command, input=PASSWORD, text=True, stdout=sys.stderr, timeout=60, check=True)


def log_in(role, name):
    session = post("/users/login", {"user_name": name, "password": PASSWORD})
    print(f"{role}_token={session['access_token']}")
    print(f"{role}_id={session['user_id']}")
    return session["access_token"]


url, program, data_dir = sys.argv[1:]
for number, name in enumerate(CUSTOMERS, start=4711):
    register(name, str(number))
create_admin("root", "0")
customer = log_in("customer", CUSTOMERS[0])
log_in("admin", "root")
# Of the contract's examples too: order 0, the customer's own.
post("/orders", {"product_id": 3, "quantity": 1}, customer)
