// The server's key: asked for once, kept by this browser, sent as a header and never in an address.

const NAME = "code-assistant-key";
const $ = (id) => document.getElementById(id);

let asking = null; // all requests that are refused meanwhile wait for the one answer

export function storedKey() {
  return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME);
}

// Resolves to whether there is a key to try. refused: the one that the server did not take, null where none was sent.
export function askForKey(refused) {
  if (storedKey() !== refused) return Promise.resolve(true); // entered since that request was sent
  asking ??= show(refused !== null).finally(() => { asking = null; });
  return asking;
}

function show(isWrong) {
  const dialog = $("key");
  const input = $("key-input");
  input.value = dialog.returnValue = "";
  input.setAttribute("aria-invalid", String(isWrong));
  $("key-wrong").textContent = isWrong ? "The server does not take this key." : "";
  $("key-wrong").hidden = !isWrong;
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const key = input.value.trim();
      input.value = "";
      const isEntered = dialog.returnValue === "enter" && key !== "";
      if (isEntered) keep(key, $("key-keep").checked);
      resolve(isEntered);
    }, { once: true });
  });
}

// A tab's own storage ends with the tab; the browser's stays until another key is entered.
function keep(key, isForLong) {
  for (const storage of [sessionStorage, localStorage]) storage.removeItem(NAME);
  (isForLong ? localStorage : sessionStorage).setItem(NAME, key);
}

$("key-cancel").addEventListener("click", () => $("key").close());
