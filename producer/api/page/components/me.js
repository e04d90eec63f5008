// Who looks: what the viewer's key allows.

import { createContext, useContext } from "../preact/standalone.module.js";

export const Me = createContext(null);

export const useMay = (scope) => useContext(Me)?.scopes.includes(scope) ?? false;
