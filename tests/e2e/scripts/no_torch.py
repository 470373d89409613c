"""Never imports torch: it runs to its end as it would without us."""

# e2e: no-phases

import json
import random

random.seed(0)
print(json.dumps([random.randrange(10) for _ in range(5)]))
