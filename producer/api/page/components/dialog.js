// Asks before something happens that cannot be undone.

import { html, useEffect, useRef } from "../preact/standalone.module.js";

// Shown while there is a question: {text, yes, act}.
export function Confirm({ question, onClose }) {
  const dialog = useRef(null);
  useEffect(() => {
    if (question) dialog.current.showModal();
  }, [question]);
  const answer = ({ target }) => {
    if (target.returnValue === "yes") question?.act();
    target.returnValue = "";
    onClose();
  };
  return html`<dialog ref=${dialog} class="confirm" aria-labelledby="question" onClose=${answer}>
    <form method="dialog">
      <p id="question">${question?.text}</p>
      <p class="bar">
        <button value="no" autofocus>Leave it as it is</button>
        <button value="yes" class="danger">${question?.yes}</button>
      </p>
    </form>
  </dialog>`;
}
