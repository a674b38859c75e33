"""What is demanded, beside what was measured."""
from measure import number, table

DEMANDS = []


class Demand:
    def __init__(self, part, what, measured, must, aim, unit):
        self.part, self.what, self.measured, self.must, self.aim, self.unit = part, what, measured, must, aim, unit

    def holds(self, bound):
        if bound is None:
            return None
        way, limit = bound
        return self.measured >= limit if way == "≥" else self.measured <= limit

    def row(self):
        said = lambda bound: "-" if bound is None else "%s %s%s" % (bound[0], "{:,}".format(bound[1]), self.unit)
        word = "NO" if self.holds(self.must) is False else "aim" if self.holds(self.aim) else "-" if self.must is None else "yes"
        return [self.part + ": " + self.what, said(self.must), said(self.aim), number(self.measured) + self.unit, word]


def demand(part, what, measured, must=None, aim=None, unit=""):
    """Remembers a figure; `must` and `aim` are ("≥" or "≤", limit)."""
    DEMANDS.append(Demand(part, what, measured, must, aim, unit))


def settle(path):
    """Prints all of them, and writes them as Markdown; whether every must holds."""
    if not DEMANDS:
        return True
    head, rows = ["", "must", "aim", "measured", "ok"], [each.row() for each in DEMANDS]
    table("demanded", head, rows)
    lines = ["| %s |" % " | ".join(row) for row in [["what"] + head[1:], ["---", "---:", "---:", "---:", "---"]] + rows]
    path.write_text("\n".join(lines) + "\n")
    print("as Markdown: %s" % path)
    return all(each.holds(each.must) is not False for each in DEMANDS)
