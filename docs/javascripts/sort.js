// Tables in blocks of the class "sortable" are sorted by the column whose head is clicked, numbers as numbers, gaps last.
document$.subscribe(() => {
  for (const table of document.querySelectorAll(".sortable table")) {
    table.querySelectorAll("th").forEach((head, column) => {
      let direction = 1;
      head.style.cursor = "pointer";
      head.addEventListener("click", () => {
        const body = table.tBodies[0];
        const text = (row) => row.cells[column].textContent.trim();
        const order = (a, b) => {
          const [left, right] = [text(a), text(b)];
          if (!left || !right) return (left ? 0 : 1) - (right ? 0 : 1);
          const numbers = [Number(left), Number(right)];
          return direction * (numbers.some(isNaN) ? left.localeCompare(right) : numbers[0] - numbers[1]);
        };
        body.append(...[...body.rows].sort(order));
        direction = -direction;
      });
    });
  }
});
