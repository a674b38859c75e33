"""What `plutil` and `PlistBuddy` of macOS do, as far as our scripts use them."""
import json
import plistlib
import sys


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    if data[:1] in (b"{", b"["):
        return json.loads(data)
    return plistlib.loads(data)


def plutil(args):
    # plutil -convert FORMAT -o TO FROM
    assert args[0] == "-convert" and args[2] == "-o" and len(args) == 5, args
    value = read(args[4])
    if args[1] == "xml1":
        data = plistlib.dumps(value)
    else:
        data = json.dumps(value).encode()  # a date or data is a TypeError, as it is an error of plutil's
    with open(args[3], "wb") as file:
        file.write(data)


def buddy(args):
    # PlistBuddy -c "Print :a:0:b" FILE
    assert args[0] == "-c" and args[1].startswith("Print :") and len(args) == 3, args
    value = read(args[2])
    for part in args[1][len("Print :"):].split(":"):
        value = value[int(part)] if isinstance(value, list) else value[part]
    if isinstance(value, bool):
        print("true" if value else "false")
    elif isinstance(value, list):
        print("Array {")
        for item in value:
            print("    " + str(item))
        print("}")
    else:
        print(value)


if __name__ == "__main__":
    try:
        (plutil if sys.argv[1] == "plutil" else buddy)(sys.argv[2:])
    except Exception as error:  # whatever it is, the tool would fail
        # PlistBuddy says so where its caller would read a value.
        print(error, file=sys.stdout if sys.argv[1] == "buddy" else sys.stderr)
        sys.exit(1)
