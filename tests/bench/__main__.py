from tests.bench import cached
from tests.bench.report import Report
import sys

r = Report()
args = sys.argv[1:]
quick = "--quick" in args
rows = [a for a in args if not a.startswith("-")] or list(cached.ROWS)
cached.measure(rows, cached.QUICK if quick else cached.Sizes(), r)
r.show()
