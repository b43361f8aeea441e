/** An answer of the Hub that isn't a success: status, X-Error-Code and X-Error-Message. */
export class HubError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }

  headers() {
    return { ...(this.code ? { "X-Error-Code": this.code } : {}), "X-Error-Message": this.message };
  }
}

// To an anonymous client a missing repo and a private one look the same.
export const repoNotFound = (anonymous) => new HubError(anonymous ? 401 : 404, "RepoNotFound", "Repository not found");
export const badToken = () => new HubError(401, undefined, "Invalid credentials in Authorization header");
export const revisionNotFound = (rev) => new HubError(404, "RevisionNotFound", `Invalid rev id: ${rev}`);
export const entryNotFound = () => new HubError(404, "EntryNotFound", "Entry not found");
export const disabled = () => new HubError(403, undefined, "Access to this resource is disabled.");
export const notFound = () => new HubError(404, undefined, "Sorry, we can't find the page you are looking for.");
export const badRequest = (message) => new HubError(400, undefined, message);

export const gated = (id, anonymous) =>
  anonymous
    ? new HubError(
        401,
        "GatedRepo",
        `Access to model ${id} is restricted. You must have access to it and be authenticated to access it. Please log in.`,
      )
    : new HubError(
        403,
        "GatedRepo",
        `Access to model ${id} is restricted and you are not in the authorized list. Visit https://huggingface.co/${id} to ask for access.`,
      );
