import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// Every address in the build is relative: <base href> in index.html says where the page is, and the server fills it in.
export default defineConfig({
  base: './',
  plugins: [svelte()],
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
