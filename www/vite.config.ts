import { defineConfig, type Plugin } from "vite";

// The person names the endpoint, so any https origin can be one, and a hub on this machine too. Everything else comes
// from the page's own origin.
const POLICY = [
  "default-src 'self'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self' https: http://127.0.0.1:* http://localhost:*",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** Puts the policy into the built page, so that it holds on any static host. Not in development: Vite inlines there. */
const content_security_policy: Plugin = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    { tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content: POLICY }, injectTo: "head-prepend" },
  ],
};

// With these a page is cross-origin isolated, and computes on the CPU with several threads. A host that can't send them does without.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig({
  // Relative, so that the page can be put in any folder of a host.
  base: "./",
  build: { target: "es2022" },
  server: { headers },
  preview: { headers },
  plugins: [content_security_policy],
});
