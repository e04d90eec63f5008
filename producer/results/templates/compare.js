(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const model = document.getElementById("model"), kind = document.getElementById("kind");
  const crops = [...document.querySelectorAll("[data-wrong]")], shown = document.getElementById("shown");
  const fits = (wrong) => {
    const [by, how] = wrong.split("-");
    return (!model.value || by === model.value) && (!kind.value || how === kind.value);
  };
  const update = () => {
    let count = 0;
    for (const crop of crops) {
      const all = !model.value && !kind.value;
      crop.hidden = !all && !crop.dataset.wrong.split(" ").some(fits);
      count += !crop.hidden;
    }
    shown.textContent = `${count} of ${crops.length} shown`;
  };
  form.hidden = false;
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
})();
