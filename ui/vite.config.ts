import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

// Styles within markup are refused by the page's own rules of security. Those of Bits UI change nothing that is seen here.
const withoutStylesInMarkup: Plugin = {
  name: 'without-styles-in-markup',
  enforce: 'pre',
  transform: (code, id) =>
    id.includes('/bits-ui/') && id.endsWith('.svelte') ? code.replaceAll(' style="display: contents;"', '') : undefined,
};

// Every address in the build is relative: <base href> in index.html says where the page is, and the server fills it in.
export default defineConfig({
  base: './',
  plugins: [withoutStylesInMarkup, svelte()],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    // A data: address would be refused by the page's own rules of security.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    manifest: true,
  },
  server: { proxy: { '/api': { target: process.env['TIDEMILL_SERVER'] ?? 'http://127.0.0.1:4200', changeOrigin: true } } },
  test: { include: ['src/**/*.test.ts'] },
});
