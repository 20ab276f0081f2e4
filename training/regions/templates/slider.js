const slider = document.getElementById("epoch");
if (slider) {
  const pictures = document.querySelectorAll("[data-epoch]");
  const shown = document.getElementById("shown");
  const show = () => {
    pictures.forEach((picture, place) => { picture.hidden = place !== Number(slider.value); });
    shown.textContent = "epoch " + pictures[Number(slider.value)].dataset.epoch;
  };
  slider.addEventListener("input", show);
  slider.hidden = false;
  show();
}
