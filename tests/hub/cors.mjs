/** What the Hub lets a page read of its answers. */
export const HUB_EXPOSED = [
  "X-Repo-Commit",
  "X-Request-Id",
  "X-Error-Code",
  "X-Error-Message",
  "X-Total-Count",
  "ETag",
  "Link",
  "Accept-Ranges",
  "Content-Range",
  "X-Linked-Size",
  "X-Linked-ETag",
  "X-Xet-Hash",
].join(",");

/** The Hub echoes the page's origin; to a request without one it names its own site. */
export function hubCors(request) {
  return {
    "Access-Control-Max-Age": "86400",
    "Access-Control-Allow-Origin": request.headers.origin ?? "https://huggingface.co",
    Vary: "Origin, Accept",
    "Access-Control-Expose-Headers": HUB_EXPOSED,
  };
}

/** Any origin, hence no credentials. */
export function cdnCors(exposed) {
  return {
    "Access-Control-Allow-Origin": "*",
    ...(exposed ? { "Access-Control-Expose-Headers": exposed } : {}),
  };
}

export function isPreflight(request) {
  return request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
}

/** The Hub takes whatever headers a page asks for, tokens included; the CDN has no use for methods that write. */
export function preflightHeaders(host, request) {
  const asked = request.headers["access-control-request-headers"];
  return {
    "Access-Control-Allow-Methods": host === "hub" ? "GET,HEAD,PUT,PATCH,POST,DELETE" : "GET, HEAD",
    ...(asked ? { "Access-Control-Allow-Headers": asked } : {}),
    "Content-Length": "0",
  };
}
