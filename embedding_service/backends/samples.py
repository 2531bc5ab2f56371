"""Texts on which a quantised model is compared with the whole one: a little of all that is embedded here."""

SAMPLES = (
    "where is the lock taken?",
    "read a file line by line and count the words",
    "TypeError: unsupported operand type(s) for +: 'int' and 'NoneType'",
    "getUserById",
    "x",
    "How do I cancel a running job, and what happens to the files that it has already written?",
    """def close(self) -> None:
    if self._closed:
        return
    self._closed = True
    self._socket.close()
""",
    """class Cache:
    def __init__(self, limit):
        self.limit = limit
        self.items = {}

    def get(self, key, default=None):
        return self.items.get(key, default)

    def put(self, key, value):
        while len(self.items) >= self.limit:
            self.items.pop(next(iter(self.items)))
        self.items[key] = value
""",
    """async def fetch(session, urls):
    tasks = [session.get(url) for url in urls]
    return await asyncio.gather(*tasks, return_exceptions=True)
""",
    """SELECT owner.name, COUNT(*) AS pets FROM owner JOIN pet ON pet.owner_id = owner.id
WHERE pet.born > '2019-01-01' GROUP BY owner.name HAVING COUNT(*) > 2 ORDER BY pets DESC LIMIT 20;
""",
    """export function debounce(callback, delay) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => callback(...args), delay);
  };
}
""",
    """interface Route { path: string; method: 'GET' | 'POST'; handler: (request: Request) => Promise<Response> }
const routes = new Map<string, Route>();
""",
    """func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}
""",
    """impl<T: Ord> Heap<T> {
    pub fn pop(&mut self) -> Option<T> {
        let last = self.items.len().checked_sub(1)?;
        self.items.swap(0, last);
        let top = self.items.pop();
        self.sift_down(0);
        top
    }
}
""",
    """static int ring_push(struct ring *r, const void *item) {
    size_t next = (r->head + 1) % r->capacity;
    if (next == r->tail)
        return -ENOSPC;
    memcpy(r->slots + r->head * r->width, item, r->width);
    r->head = next;
    return 0;
}
""",
    """template <typename Key, typename Value>
void LruCache<Key, Value>::evict() {
  auto oldest = order_.back();
  index_.erase(oldest.first);
  order_.pop_back();
}
""",
    """public Optional<Invoice> findUnpaid(Customer customer, LocalDate due) {
    return invoices.stream()
        .filter(invoice -> invoice.customer().equals(customer))
        .filter(invoice -> !invoice.isPaid())
        .filter(invoice -> invoice.dueDate().isBefore(due))
        .findFirst();
}
""",
    """# Installation

Create a virtual environment, activate it and run `make setup`. The server listens on port 8000.

## Configuration

Every setting is a variable of the environment; see `.env.example`.
""",
    """services:
  database:
    image: postgres:16
    ports:
      - '5432:5432'
    volumes:
      - data:/var/lib/data
""",
    "return the number of open connections in the pool " * 20,
    """for file in $(git diff --name-only HEAD~1 | grep '\\.py$'); do
    ruff check "$file" || exit 1
done
""",
    "datei öffnen und zeilenweise lesen, danach die größe prüfen",
    "ファイルを開いて一行ずつ読み込む",
    "return the number of open connections in the pool " * 20,
)
