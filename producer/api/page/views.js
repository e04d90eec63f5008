// The views, each with its path in the address and its component; a path's names, such as :id, are its properties.

import { JobView } from "./job.js";
import { JobsView } from "./jobs.js";

export const VIEWS = [
  { path: [], component: JobsView },
  { path: ["jobs", ":id"], component: JobView },
];
