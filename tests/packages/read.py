"""Reads installers by the published forms, and by other ways than they were written: everything that a form says twice
is compared. Prints what is in them as JSON.

    read.py pkg FILE FOLDER     the payload to FOLDER/root, scripts to FOLDER/scripts
    read.py rpm FILE FOLDER     the same
    read.py zip FILE FOLDER
    read.py plist FILE
    read.py signed FILE FOLDER      the packed table, the signature and the certificates of an installer, each as a file
    read.py forged FILE MODULUS     whether the signature of that key (hex) holds for the installer, and for no other bytes
"""
import base64
import datetime
import gzip
import hashlib
import json
import os
import plistlib
import struct
import sys
import xml.etree.ElementTree as xml
import zipfile
import zlib


def xar(data):
    """Names and bytes, their sums compared. The form: github.com/mackyle/xar/wiki/xarformat."""
    magic, size, version, packed, plain, sum_kind = struct.unpack_from(">4sHHQQI", data)
    assert (magic, size, version, sum_kind) == (b"xar!", 28, 1, 1), "head"
    table = data[size:size + packed]
    toc = zlib.decompress(table)
    assert len(toc) == plain, "length of the table"
    heap = data[size + packed:]
    root = xml.fromstring(toc).find("toc")
    at = root.find("checksum")
    assert at.get("style") == "sha1"
    offset, length = int(at.find("offset").text), int(at.find("size").text)
    assert heap[offset:offset + length] == hashlib.sha1(table).digest(), "sum of the table"
    files, end = {}, offset + length
    signature, found = root.find("signature"), None
    assert [child.tag for child in root].count("signature") == (signature is not None)
    if signature is not None:
        assert signature.get("style") == "RSA"
        offset, length = int(signature.find("offset").text), int(signature.find("size").text)
        assert offset == end, "nothing between the sum and the signature"
        end = offset + length
        name = "{http://www.w3.org/2000/09/xmldsig#}"
        chain = signature.find(f"{name}KeyInfo").find(f"{name}X509Data").findall(f"{name}X509Certificate")
        found = {"table": table, "bytes": heap[offset:end],
                 "certificates": [base64.b64decode(one.text, validate=True) for one in chain]}
        assert len(found["bytes"]) == length
    for file in root.findall("file"):
        about = file.find("data")
        offset, length = int(about.find("offset").text), int(about.find("length").text)
        assert offset == end, "nothing between two files"
        end = offset + length
        raw = heap[offset:end]
        assert len(raw) == length == int(about.find("size").text)
        assert about.find("encoding").get("style") == "application/octet-stream"
        for kind in ("archived-checksum", "extracted-checksum"):
            assert about.find(kind).get("style") == "sha1"
            assert about.find(kind).text == hashlib.sha1(raw).hexdigest(), "sum of a file"
        files[file.find("name").text] = raw
    assert end == len(heap), "nothing behind the files"
    made = datetime.datetime.fromisoformat(root.find("creation-time").text).replace(tzinfo=datetime.timezone.utc)
    return files, int(made.timestamp()), found


def cpio(data):
    """Entries of the portable forms: odc (POSIX.1-1988) and newc."""
    at, entries = 0, []
    while True:
        magic = data[at:at + 6]
        if magic == b"070707":
            widths = (6, 6, 6, 6, 6, 6, 6, 11, 6, 11)
            fields, place = [], at + 6
            for width in widths:
                fields.append(int(data[place:place + width], 8))
                place += width
            _, inode, mode, uid, gid, links, _, mtime, name_size, size = fields
            name = data[place:place + name_size - 1].decode()
            assert data[place + name_size - 1] == 0
            start = place + name_size
            after = start + size
        elif magic in (b"070701", b"070702"):
            fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
            inode, mode, uid, gid, links, mtime, size = fields[:7]
            name_size = fields[11]
            name = data[at + 110:at + 110 + name_size - 1].decode()
            start = (at + 110 + name_size + 3) & ~3
            after = (start + size + 3) & ~3
        else:
            raise AssertionError(f"no cpio head at {at}: {magic!r}")
        if name == "TRAILER!!!":
            return entries
        entries.append({"path": name, "mode": mode, "uid": uid, "gid": gid, "mtime": mtime, "inode": inode,
                        "bytes": data[start:start + size]})
        at = after


TABLE = []
for i in range(256):
    value = i << 24
    for _ in range(8):
        value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
    TABLE.append(value & 0xFFFFFFFF)


def cksum(data):
    """POSIX cksum, by table."""
    length, tail = len(data), b""
    while length:
        tail += bytes([length & 255])
        length >>= 8
    value = 0
    for byte in data + tail:
        value = ((value << 8) & 0xFFFFFFFF) ^ TABLE[(value >> 24) ^ byte]
    return value ^ 0xFFFFFFFF


def bom(data):
    """The paths of a bill of materials, read as lsbom does: from the named tree down, each name by its parent's number."""
    magic, version, used, table_at, table_size, names_at, names_size = struct.unpack_from(">8sIIIIII", data)
    assert (magic, version) == (b"BOMStore", 1)
    assert table_at + table_size == len(data), "the table is the end"
    count = struct.unpack_from(">I", data, table_at)[0]
    table = [struct.unpack_from(">II", data, table_at + 4 + 8 * i) for i in range(count)]
    assert table[0] == (0, 0) and used == count - 1

    def block(number):
        at, size = table[number]
        assert 512 <= at and at + size <= names_at
        return data[at:at + size]

    names, at = {}, names_at + 4
    for _ in range(struct.unpack_from(">I", data, names_at)[0]):
        number, size = struct.unpack_from(">IB", data, at)
        names[data[at + 5:at + 5 + size].decode()] = number
        at += 5 + size
    assert at == names_at + names_size
    assert list(names) == ["BomInfo", "Paths", "HLIndex", "VIndex", "Size64"], names

    def leaves(tree):
        word, version, child, page, paths, _ = struct.unpack(">4sIIIIB", tree)
        assert (word, version) == (b"tree", 1)
        pages, seen, entries = [child], set(), []
        while pages:
            number = pages.pop(0)
            assert number not in seen
            seen.add(number)
            page = block(number)
            leaf, count, forward, _ = struct.unpack_from(">HHII", page)
            pairs = [struct.unpack_from(">II", page, 12 + 8 * i) for i in range(count)]
            if leaf:
                entries += pairs
                if forward:
                    pages.append(forward)
            else:
                pages.append(pairs[0][0])
        assert len(entries) == paths
        return entries

    found, by_id = [], {}
    for about, name in leaves(block(names["Paths"])):
        number, more = struct.unpack(">II", block(about))
        kind, _, _, mode, uid, gid, mtime, size, _, total, link = struct.unpack(">BBHHIIIIBII", block(more))
        parent = struct.unpack_from(">I", block(name))[0]
        text = block(name)[4:-1].decode()
        assert block(name)[-1] == 0 and link == 0
        path = text if parent == 0 else by_id[parent] + "/" + text
        by_id[number] = path
        entry = {"path": path, "mode": mode, "uid": uid, "gid": gid, "mtime": mtime}
        if kind == 1:
            entry |= {"size": size, "sum": total}
        else:
            assert kind == 2 and (size, total) == (0, 0)
        found.append(entry)
    assert struct.unpack_from(">II", block(names["BomInfo"])) == (1, len(found) + 1)
    for empty in ("HLIndex", "Size64"):
        assert leaves(block(names[empty])) == []
    one, tree = struct.unpack_from(">II", block(names["VIndex"]))
    assert one == 1 and leaves(block(tree)) == []
    return found


def lay(folder, entries):
    """Lays the entries down, as an installer does: folders that are there stay."""
    for entry in entries:
        path = os.path.join(folder, entry["path"].lstrip("./"))
        if entry["mode"] & 0o170000 == 0o040000:
            if not os.path.isdir(path):
                os.makedirs(path)
                os.chmod(path, entry["mode"] & 0o7777)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(entry["bytes"])
            os.chmod(path, entry["mode"] & 0o7777)


def listed(entries):
    return [{"path": e["path"], "mode": oct(e["mode"] & 0o7777)[2:], "owner": f"{e['uid']}:{e['gid']}",
             "mtime": e["mtime"], **({"size": len(e["bytes"])} if e["mode"] & 0o100000 else {})} for e in entries]


def pkg(path, folder):
    with open(path, "rb") as file:
        files, made, _ = xar(file.read())
    assert list(files) == ["Bom", "PackageInfo", "Payload", "Scripts"], list(files)
    info = xml.fromstring(files["PackageInfo"])
    assert info.tag == "pkg-info" and info.get("format-version") == "2" and info.get("auth") == "root"
    assert info.get("version") == f"1.{made}"
    payload = cpio(gzip.decompress(files["Payload"]))
    scripts = cpio(gzip.decompress(files["Scripts"]))
    # The bill says of each entry what the payload holds.
    bill = {e["path"]: e for e in bom(files["Bom"])}
    assert sorted(bill) == sorted(e["path"] for e in payload), (sorted(bill), [e["path"] for e in payload])
    for entry in payload:
        said = bill[entry["path"]]
        for key in ("mode", "uid", "gid", "mtime"):
            assert said[key] == entry[key], (entry["path"], key, said[key], entry[key])
        if entry["mode"] & 0o170000 == 0o100000:
            assert (said["size"], said["sum"]) == (len(entry["bytes"]), cksum(entry["bytes"])), entry["path"]
        if "/" in entry["path"]:
            assert entry["path"].rsplit("/", 1)[0] in bill, "a folder for each file"
    assert {e["mtime"] for e in payload} == {made}
    assert len({e["inode"] for e in payload}) == len(payload), "no two entries are one file"
    assert int(info.find("payload").get("numberOfFiles")) == len(payload)
    named = {script.tag: script.get("file") for script in info.find("scripts")}
    assert sorted(named.values()) == sorted(e["path"] for e in scripts if e["path"] != "."), named
    lay(os.path.join(folder, "root"), payload)
    lay(os.path.join(folder, "scripts"), scripts)
    return {"identifier": info.get("identifier"), "version": info.get("version"),
            "location": info.get("install-location"), "payload": listed(payload), "scripts": listed(scripts)}


def rpm_header(data, at):
    magic, count, size = struct.unpack_from(">4s4xII", data, at)
    assert magic == b"\x8e\xad\xe8\x01", magic
    store, tags = at + 16 + 16 * count, {}
    for i in range(count):
        tag, kind, offset, number = struct.unpack_from(">IIII", data, at + 16 + 16 * i)
        place = store + offset
        if kind in (6, 8, 9):
            values = []
            for _ in range(number):
                end = data.index(b"\0", place)
                values.append(data[place:end].decode())
                place = end + 1
        elif kind == 7:
            values = [data[place:place + number]]
        else:
            letter = {2: "B", 3: "H", 4: "I", 5: "Q"}[kind]
            values = list(struct.unpack_from(f">{number}{letter}", data, place))
        tags[tag] = values
    return tags, at, store + size


def rpm(path, folder):
    """The form: rpm's manual, "RPM V4 Package format", and its list of tags."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:4] == b"\xed\xab\xee\xdb"
    signature, _, end = rpm_header(data, 96)
    tags, begin, payload_at = rpm_header(data, (end + 7) & ~7)
    head = data[begin:payload_at]
    assert signature[273] == [hashlib.sha256(head).hexdigest()], "sum of the head"
    packed = data[payload_at:]
    assert tags[5092] == [hashlib.sha256(packed).hexdigest()], "sum of the payload"
    entries = cpio(gzip.decompress(packed))
    names = [tags[1118][i] + base for i, base in zip(tags[1116], tags[1117])]
    contents = {e["path"].removeprefix("."): e for e in entries}
    assert sorted(names) == sorted(contents), (names, sorted(contents))
    files = []
    for i, name in enumerate(names):
        entry = contents[name]
        assert tags[1035][i] == hashlib.sha256(entry["bytes"]).hexdigest(), "sum of a file"
        assert tags[1028][i] == len(entry["bytes"]) and tags[1030][i] == entry["mode"] & 0xFFFF
        files.append({"path": name, "mode": oct(tags[1030][i] & 0o7777)[2:], "flags": tags[1037][i],
                      "owner": f"{tags[1039][i]}:{tags[1040][i]}"})
    lay(os.path.join(folder, "root"), entries)
    os.makedirs(os.path.join(folder, "scripts"))
    scripts = {"post": 1024, "preun": 1025}
    for name, tag in scripts.items():
        with open(os.path.join(folder, "scripts", name), "w") as file:
            file.write("#!/bin/sh\n" + tags[tag][0])
        assert tags[{"post": 1086, "preun": 1087}[name]] == ["/bin/sh"]
    return {"name": tags[1000][0], "version": tags[1001][0], "arch": tags[1022][0], "files": files,
            "recommends": tags.get(5046), "digest": tags[5011]}


def zipped(path, folder):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
        return [{"path": i.filename, "mode": oct(i.external_attr >> 16 & 0o777)[2:], "date": i.date_time} for i in archive.infolist()]


def plain(value):
    if isinstance(value, bytes):
        return {"data": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def profile(path):
    with open(path, "rb") as file:
        return plain(plistlib.load(file))


def signed(path, folder):
    with open(path, "rb") as file:
        found = xar(file.read())[2]
    os.makedirs(folder)
    files = {"table": found["table"], "signature": found["bytes"]}
    files |= {f"{i}.der": one for i, one in enumerate(found["certificates"])}
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
    return sorted(files)


def forged(path, modulus):
    """RFC 8017 § 8.2.2, by hand: the signature to the power of e, which is 65537 here, is the sum with its frame."""
    modulus = int(modulus, 16)
    size = (modulus.bit_length() + 7) // 8
    with open(path, "rb") as file:
        data = bytearray(file.read())

    def holds():
        found = xar(bytes(data))[2]
        named = bytes.fromhex("3021300906052b0e03021a05000414") + hashlib.sha1(found["table"]).digest()
        wanted = b"\0\1" + b"\xff" * (size - len(named) - 3) + b"\0" + named
        return pow(int.from_bytes(found["bytes"], "big"), 65537, modulus).to_bytes(size, "big") == wanted

    assert holds(), "the signature"
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        try:
            held = holds()
        except Exception:  # whatever a reader trips over
            held = False
        assert not held, f"another byte {at} goes unnoticed"
        data[at] ^= 1 << at % 8
    return len(data)


if __name__ == "__main__":
    does = {"pkg": pkg, "rpm": rpm, "zip": zipped, "plist": profile, "signed": signed, "forged": forged}[sys.argv[1]]
    print(json.dumps(does(*sys.argv[2:])))
