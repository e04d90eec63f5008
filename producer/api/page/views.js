// The views, each with its path in the address and its component; a path's names, such as :id, are its properties.

import { FormsView } from "./forms.js";
import { JobView } from "./job.js";
import { JobsView } from "./jobs.js";
import { ReportView } from "./report.js";
import { SubmitView } from "./submit.js";
import { WorkersView } from "./workers.js";
import { ReviewView } from "./review.js";

export const VIEWS = [
  { path: [], component: JobsView },
  { path: ["jobs", ":id"], component: JobView },
  { path: ["jobs", ":id", "report"], component: ReportView },
  { path: ["jobs", ":id", "forms"], component: FormsView },
  { path: ["workers"], component: WorkersView },
  { path: ["submit"], component: SubmitView },
  { path: ["jobs", ":id", "review"], component: ReviewView },
];
