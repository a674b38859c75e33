"""Loops and engines in Python that choose what `ONE_PROBE` chooses: `loops.py HOW FILE`. Whole lines or ids on stdout."""
import sys

TYPE, NAME, ACTION = "osquery_result", "usb_devices", "added"
JQ = 'select(.type == "osquery_result" and .payload.name == "usb_devices" and .payload.action == "added")'
LINES = 1000  # that jq gets at a time


def loop(loads, path):
    with open(path, "rb", 1 << 20) as lines:
        for line in lines:
            event = loads(line)
            if event["type"] == TYPE:
                payload = event["payload"]
                if payload.get("name") == NAME and payload.get("action") == ACTION:
                    sys.stdout.buffer.write(line)


def with_json(path):
    import json
    loop(json.loads, path)


def with_orjson(path):
    import orjson
    loop(orjson.loads, path)


def with_jq(path):
    """jq 1.8 as a library: it parses, filters and writes; Python only carries blocks of lines."""
    import itertools
    import jq
    chosen = jq.compile(JQ)
    with open(path, encoding="utf-8") as lines:
        while block := "".join(itertools.islice(lines, LINES)):
            text = chosen.input_text(block).text()
            if text:
                print(text)


def with_polars(path):
    """Its schema is given by hand: it has none for events of several types. It gives ids only."""
    import polars
    schema = {"id": polars.String, "type": polars.String, "payload": polars.Struct({"name": polars.String, "action": polars.String})}
    payload = polars.col("payload").struct
    chosen = (polars.col("type") == TYPE) & (payload.field("name") == NAME) & (payload.field("action") == ACTION)
    for ident in polars.scan_ndjson(path, schema=schema, ignore_errors=True).filter(chosen).select("id").collect()["id"]:
        print(ident)


def with_duckdb(path):
    import duckdb
    rows = duckdb.execute("select json from read_ndjson_objects(?) where json->>'$.type' = ? and json->>'$.payload.name' = ? and json->>'$.payload.action' = ?", [path, TYPE, NAME, ACTION])
    while block := rows.fetchmany(LINES):
        sys.stdout.write("".join(row[0] + "\n" for row in block))


def with_chdb(path):
    import chdb
    query = ("select line from file('%s', 'LineAsString', 'line String') where JSONExtractString(line, 'type') = '%s' and JSONExtractString(line, 'payload', 'name') = '%s'"
             " and JSONExtractString(line, 'payload', 'action') = '%s'" % (path, TYPE, NAME, ACTION))
    sys.stdout.buffer.write(chdb.query(query, "TSVRaw").bytes())


globals()["with_" + sys.argv[1]](sys.argv[2])
